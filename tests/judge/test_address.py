"""Where an endpoint is, which key it gets, and what of the environment it must not get."""

import base64

import pytest
from test_openai import KEY, ask, total

from medgrpo.errors import UserError
from medgrpo.judge.address import server_url

ODD = ["//x/y", "localhost:8000/v1", "http://", "ftp://x/v1", "http://x:99999/v1", "http://[::1/v1"]
ODD += ["http://x y/v1", "http://x/v1\n", "http://x/v1?key=1", "", "http://x:0/v1"]


@pytest.mark.parametrize("url", ODD)
def test_what_is_no_address_is_told_before_anything_is_sent(server, judge_of, url):
    with pytest.raises(UserError, match=r"judge\.base_url should be the address of a server"):
        judge_of(base_url=url)


def test_a_password_in_the_address_is_refused_and_not_repeated(medgrpo, tmp_path):
    url = "http://me:my-password@127.0.0.1:9/v1"
    done = medgrpo("judge=local_server", f"judge.base_url={url}")
    assert done.returncode == 2
    assert "judge.base_url (command line)" in done.stderr
    assert "without name and password" in done.stderr
    assert "my-password" not in done.stderr
    assert not list(tmp_path.rglob("config.yaml"))


def test_an_address_may_end_in_a_slash():
    assert server_url("https://x.example/v1/") == "https://x.example/v1"


@pytest.mark.parametrize("key", ["sk-a\nX-Injected: yes", "sk-\u201cquoted\u201d", "two words"])
def test_what_is_no_key_is_told_without_showing_it(server, judge_of, monkeypatch, key):
    monkeypatch.setenv("JUDGE_TEST_KEY", key)
    with pytest.raises(UserError, match="variable JUDGE_TEST_KEY holds no key") as error:
        judge_of(api_key_env="JUDGE_TEST_KEY")
    assert key not in str(error.value)


@pytest.mark.parametrize("with_key", [False, True])
def test_passwords_of_netrc_stay_where_they_are(server, judge_of, monkeypatch, tmp_path, with_key):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password my-password\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    server.key = KEY if with_key else None
    judge = judge_of(api_key_env="JUDGE_TEST_KEY" if with_key else None)
    assert "Aspirin" in ask(judge)
    sent = " ".join(server.headers[-1].values())
    assert base64.b64encode(b"me:my-password").decode() not in sent
    assert (KEY in sent) == with_key


def test_a_proxy_of_the_environment_is_used_unless_excepted(server, judge_of, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        judge_of(base_url="http://judge.example/v1", attempts=1).preflight()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    judge_of().preflight()


def test_nobody_is_followed_elsewhere(server, judge_of, monkeypatch):
    server.faults = {"moved": 1.0}
    with pytest.raises(UserError, match=r"set judge\.base_url to the address of the model itself"):
        judge_of().preflight()
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["usage left out", "usage negative", "usage of words"])
def test_tokens_that_are_not_counted_are_estimated_and_told(server, judge_of, caplog, kind):
    judge = judge_of(price_in=1e6, price_out=1e6)
    judge.preflight()
    known = total(judge)
    server.faults = {kind: 1.0}
    ask(judge)
    spent = total(judge)
    assert spent["estimated"] == 1
    assert spent["tokens_in"] == server.tokens["tokens_in"]  # it counts by length, too
    assert spent["cost"] > known["cost"]
    assert "does not count tokens: estimated" in caplog.text


def test_a_reasoning_model_is_asked_as_it_wants_to_be(server, judge_of):
    judge = judge_of(reasoning=True, max_tokens=4096)
    judge.preflight()
    server.content = 'Let me see.\n</think>\n{"truths": ["x"]}'
    server.script = ["bad_json"]
    assert ask(judge) == '{"truths": ["x"]}'
    for sent in server.requests:
        assert sent["max_completion_tokens"] == 4096
        assert not {"temperature", "max_tokens", "logprobs"} & sent.keys()


def test_a_reasoning_model_gives_no_logprobs(server, judge_of):
    with pytest.raises(UserError, match=r"judge\.logprobs"):
        judge_of(reasoning=True, logprobs=5)
