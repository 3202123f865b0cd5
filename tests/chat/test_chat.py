"""Talking to runs: in a session, in a terminal, and by the page in a real browser."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import clean_environment, run_medgrpo

from medgrpo.chat.__main__ import main
from medgrpo.chat.session import Asked, Session
from medgrpo.chat.terminal import talk
from medgrpo.errors import UserError

RUN = [
    "trainer=sft", "dataset=medqa_cot", "trainer.args.num_train_epochs=2", "evaluation.limit=12",
    "tracking=local", "rewards=[judges,formats,verifiable]", "evaluation.reward_rows=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A sweep of two small runs, `r-4` and `r-8`, of 48 rows."""
    cwd = tmp_path_factory.mktemp("runs")
    done = run_medgrpo(
        cwd, "-m", *RUN, "dataset.limit=48", "lora.r=4,8", "output_dir=sweep", OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "sweep"


@pytest.fixture(scope="module")
def session(runs):
    made = Session([str(runs / "r-4"), str(runs / "r-8")], [])
    yield made
    made.close()


def evaluated(run: Path, stage: str) -> list[dict]:
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    return [row for row in rows if row["stage"] == stage]


def test_every_column_answers_as_its_evaluation_did(session, runs):
    """Adapters are switched there and back, and the base model is the base model."""
    recorded = {
        "base": evaluated(runs / "r-4", "before"),
        "r-4": evaluated(runs / "r-4", "after"),
        "r-8": evaluated(runs / "r-8", "after"),
    }
    assert [column.name for column in session.columns] == list(recorded)
    assert len({tuple(row["response"] for row in rows) for rows in recorded.values()}) == 3
    for place in (0, 5, 11):
        row = session.rows[place]
        for column in reversed(session.columns):
            answer = session.answer(column, Asked(row=row))
            known = recorded[column.name][place]
            for key in ("response", "predicted", "correct", "tokens", "complies"):
                assert answer[key] == known[key], (column.name, key)
            assert session.recorded(row)[column.name]["response"] == known["response"]


def test_an_answer_comes_in_pieces_and_can_be_stopped(session):
    pieces: list[str] = []
    row, column = session.rows[0], session.columns[2]
    whole = session.answer(column, Asked(row=row), on_text=pieces.append)
    assert "".join(pieces) == whole["response"]
    assert len(pieces) > 3
    some: list[str] = []
    cut = session.answer(
        column, Asked(row=row), on_text=some.append, stopped=lambda: len(some) >= 3
    )
    assert cut["truncated"]
    assert 0 < cut["tokens"] < whole["tokens"]
    assert whole["response"].startswith(cut["response"])


def test_seeds_repeat_samples(session):
    row, column = session.rows[1], session.columns[0]

    def said(seed: int) -> str:
        return session.answer(column, Asked(row=row, temperature=1.5, seed=seed))["response"]

    assert said(1) == said(1)
    assert len({said(seed) for seed in range(4)}) > 1


def test_of_an_own_question_nothing_is_known_to_be_right(session):
    """Rewards that compare with the gold answer are left out; the others are there."""
    row = session.question("Which vitamin is scurvy a lack of?", ["Thiamine", "Ascorbic acid"], [])
    answer = session.answer(session.columns[1], Asked(row=row, max_new_tokens=48))
    assert (answer["gold"], answer["correct"]) == (None, None)
    assert "reasoning_tags" in answer["rewards"]
    assert "choice_accuracy" not in answer["rewards"]
    held_out = session.answer(session.columns[1], Asked(row=session.rows[0]))
    assert held_out["rewards"]["choice_accuracy"] == held_out["correct"]


def test_judged_rewards_come_on_request(session):
    row = session.rows[0]
    judged = session.judged(session.columns[1], row, evaluated_answer(session, row))
    assert set(judged) == {
        "deepeval_geval_rag", "deepeval_summarization", "deepeval_answer_relevancy",
        "evidently_correctness",
    }  # fmt: skip
    assert all(0 <= one["score"] <= 1 for one in judged.values())


def evaluated_answer(session, row) -> str:
    return session.recorded(row)["r-4"]["response"]


def test_rows_that_were_trained_on_are_not_held_out(tmp_path):
    """Of one file, of which the run carved its own test rows; and the shots are the run's."""
    record = {"CONTEXTS": ["One."], "LONG_ANSWER": "So it is."}
    records = {
        str(n): {"QUESTION": f"Does {n}?", "final_decision": "yes" if n % 3 else "no", **record}
        for n in range(90)
    }
    (tmp_path / "rows.json").write_text(json.dumps(records))
    done = run_medgrpo(
        tmp_path, "dataset=pubmedqa", "dataset.source=path", f"dataset.path={tmp_path}/rows.json",
        "dataset.test_ids=null", "trainer.args.max_steps=1", "trainer.validation_rows=0",
        "rewards=[formats]", "prompt.shots=1", "tracking=local", "output_dir=run",
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    session = Session([str(tmp_path / "run")], [])
    known = evaluated(tmp_path / "run", "after")
    assert 0 < len(known) < 90
    assert [row["id"] for row in session.rows] == [row["id"] for row in known]
    answer = session.answer(session.columns[1], Asked(row=session.rows[0]))
    assert answer["response"] == known[0]["response"]
    assert len(session.columns[1].parts.prompt.messages(session.rows[0])) == 4


def changed(run: Path, to: Path, **overrides: object) -> Path:
    """A copy of a run that records other overrides."""
    shutil.copytree(run, to)
    file = to / ".hydra" / "overrides.yaml"
    lines = [
        line for line in yaml.safe_load(file.read_text()) if line.split("=")[0] not in overrides
    ]
    file.write_text(yaml.safe_dump([*lines, *(f"{k}={v}" for k, v in overrides.items())]))
    return to


def test_runs_of_other_base_models_are_refused(runs, tmp_path):
    other = changed(runs / "r-8", tmp_path / "other", **{"++model.dtype": "bfloat16"})
    with pytest.raises(
        UserError, match=r"model\.dtype is 'float32' in r-4 and 'bfloat16' in other"
    ):
        Session([str(runs / "r-4"), str(other)], [])


def test_what_is_no_run_or_has_no_adapter_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="is no run folder"):
        Session([str(tmp_path)], [])
    with pytest.raises(UserError, match="1 to 4 go side by side"):
        Session([str(runs / "r-4")] * 5, [])
    unfinished = changed(runs / "r-4", tmp_path / "unfinished")
    shutil.rmtree(unfinished / "adapter")
    (unfinished / "summary.json").write_text('{"status": "killed"}')
    with pytest.raises(UserError, match="has no adapter/ yet"):
        Session([str(unfinished)], [])


def test_a_folder_of_somebody_else_runs_nothing(runs, tmp_path):
    """What it records is held to the rules of resume: no code, no callbacks, no addresses."""
    for key, value in {
        "judge._target_": "os.system",
        "+hydra.callbacks.x._target_": "os.system",
        "judge.base_url": "http://evil.example/v1",
        "++prompt._target_": "posix.system",
    }.items():
        other = changed(runs / "r-8", tmp_path / key.strip("+"), **{key: value})
        with pytest.raises(UserError):
            Session([str(other)], [])


def chat(cwd: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medgrpo.chat", *arguments],
        cwd=cwd, env=clean_environment(cwd, {"OMP_NUM_THREADS": "1"}), input=stdin,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_one_question_from_the_command_line(runs):
    done = chat(
        runs, "r-8", "--say", "Which vitamin?", "--option", "Thiamine", "--option", "Zinc", "seed=3"
    )
    assert done.returncode == 0, done.stderr
    assert "--- base" in done.stdout
    assert "--- r-8" in done.stdout
    assert done.stdout.count("answer read: ") == 2


def test_in_a_terminal(session, runs, capsys):
    asked = ":row 99\n:row 0\nWhich vitamin? | Thiamine | Zinc\n:help\n\n:quit\nunheard\n"
    talk(session, asked.splitlines())
    told = capsys.readouterr().out
    assert ":row takes 0 to 11" in told
    known = evaluated(runs / "r-4", "after")[0]
    assert f"answer read: {known['predicted'] or 'none'}; gold: {known['label']}) " in told
    assert told.count("answer read: ") == 6  # of three columns, twice
    assert "unheard" not in told


def test_mistakes_are_one_line(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    for arguments, told in (
        (["nowhere"], "nowhere is no run folder"),
        (["r-4", "lora.q=3"], "lora.q"),
        (["r-4", "dataset.source=hubb"], "dataset.source"),
        (["seed=3"], "name a run folder"),
    ):
        assert main([*arguments, "--say", "?"]) == 2
        assert told in capsys.readouterr().err


HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\n"

SERVER = """
import sys
from medgrpo.chat.server import serve
from medgrpo.chat.session import Session

session = Session(sys.argv[1:], [])
answer = session.answer

def slowly(column, asked, on_text=lambda text: None, stopped=lambda: False):
    import time
    def told(text):
        time.sleep(0.02)
        on_text(text)
    found = answer(column, asked, told, stopped)
    if "broken" in asked.row["question"]:
        raise RuntimeError("no memory left")
    if "hostile" in asked.row["question"]:
        on_text({hostile!r})
        found["response"] += {hostile!r}
    return found

session.answer = slowly
serve(session, "127.0.0.1", 0, lambda url: print(url, flush=True))
"""


@pytest.fixture(scope="module")
def url(runs):
    """The address of the page of both runs; a model that is asked about "hostile" writes markup."""
    code = SERVER.format(hostile=HOSTILE)
    with subprocess.Popen(
        [sys.executable, "-c", code, "r-4", "r-8"],
        cwd=runs, env=clean_environment(runs, {"OMP_NUM_THREADS": "1"}),
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(params=[1280, 400])
def page(browser, url, request):
    browser.open(url, request.param)
    until(browser, "document.querySelectorAll('#list button').length > 0")
    return browser


def until(page, condition: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not page.run(f"Boolean({condition})"):
        assert time.monotonic() < deadline, page.run("document.body.innerText")
        time.sleep(0.05)


def texts(page) -> list[str]:
    return page.run("[...document.querySelectorAll('.column pre')].map(one => one.textContent)")


def fill(page, field: str, value: str) -> None:
    page.run(
        f"(() => {{ const one = document.getElementById({field!r});"
        f"one.value = {json.dumps(value)}; one.dispatchEvent(new Event('input')); }})()"
    )


def click(page, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def test_a_held_out_row_is_asked_of_all_columns(page, runs):
    click(page, "#list li:nth-child(3) button")
    recorded = texts(page)
    assert recorded[0] == evaluated(runs / "r-4", "before")[2]["response"]
    click(page, "#ask")
    until(page, "document.getElementById('stop').disabled === false")
    until(page, "document.getElementById('stop').disabled")
    assert texts(page) == recorded  # greedy: what evaluation recorded
    facts = page.run("document.querySelectorAll('.column')[2].querySelector('table').innerText")
    assert "answer read" in facts
    assert "choice_accuracy" in facts
    click(page, ".column:nth-child(3) > button")
    until(page, "document.querySelectorAll('.column')[2].innerText.includes('evidently')")
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.of("Runtime.exceptionThrown") == []
    assert page.of("Log.entryAdded", "Runtime.consoleAPICalled") == []


def test_an_answer_streams_and_stops(page):
    click(page, "#list li:nth-child(1) button")
    whole = texts(page)
    click(page, "#ask")
    seen = set()
    deadline = time.monotonic() + 30
    while len(seen) < 4:
        assert time.monotonic() < deadline
        seen.add(texts(page)[0])
    click(page, "#stop")
    until(page, "document.getElementById('stop').disabled")
    assert len(texts(page)[0]) < len(whole[0])
    assert "stopped" in page.run("document.querySelector('.column .note').textContent")
    click(page, "#ask")  # the next question is answered: nothing is left running
    until(page, "document.getElementById('stop').disabled === false")
    until(page, "document.getElementById('stop').disabled")
    assert texts(page) == whole


def test_rows_are_filtered_by_what_changed(page, runs):
    before, after = evaluated(runs / "r-4", "before"), evaluated(runs / "r-8", "after")
    pairs = list(zip(before, after, strict=True))
    expected = {
        "all": len(pairs),
        "changed": sum(a["predicted"] != b["predicted"] for a, b in pairs),
        "gained": sum(not a["correct"] and b["correct"] for a, b in pairs),
        "lost": sum(a["correct"] and not b["correct"] for a, b in pairs),
        "right": sum(b["correct"] for b in after),
        "wrong": sum(not b["correct"] for b in after),
    }
    assert expected["changed"] > 0
    for kind, count in expected.items():
        fill(page, "filter", kind)
        assert page.run("document.querySelectorAll('#list button').length") == count, kind
    fill(page, "filter", "all")
    fill(page, "search", before[4]["question"])
    assert page.run("document.querySelectorAll('#list button').length") == 1
    fill(page, "search", "")


def test_what_a_model_writes_is_never_markup(page):
    click(page, "#clear")
    fill(page, "question", "a hostile question <b>bold</b>")
    click(page, "#ask")
    until(page, "document.getElementById('stop').disabled === false")
    until(page, "document.getElementById('stop').disabled")
    assert all(text.endswith(HOSTILE) for text in texts(page))
    assert page.run("document.title") == "medgrpo chat"
    assert page.run("document.querySelectorAll('#columns img, #columns script').length") == 0


def test_a_model_that_fails_is_told_and_can_be_asked_again(page):
    click(page, "#clear")
    fill(page, "question", "a broken question")
    click(page, "#ask")
    until(page, "document.getElementById('error').textContent.includes('no memory left')")
    fill(page, "question", "another?")
    click(page, "#ask")
    until(page, "document.querySelectorAll('.column')[2].innerText.includes('answer read')")
    assert page.run("document.getElementById('error').textContent") == ""


def test_an_edited_row_has_no_gold_answer(page):
    click(page, "#list li:nth-child(2) button")
    fill(page, "question", "Something else?")
    assert "is not used" in page.run("document.getElementById('which').textContent")
    click(page, "#ask")
    until(page, "document.getElementById('stop').disabled === false")
    until(page, "document.getElementById('stop').disabled")
    facts = page.run("document.querySelectorAll('.column')[1].querySelector('table').innerText")
    assert "gold" not in facts
    assert "choice_accuracy" not in facts


def ask(url: str, body: bytes, **headers: str) -> int:
    request = urllib.request.Request(f"{url}api/ask", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_other_sites_cannot_ask(url):
    body = json.dumps({"column": "base", "question": "?", "max_new_tokens": 4}).encode()
    json_type = {"Content-Type": "application/json"}
    assert ask(url, body, **json_type) == 200
    assert ask(url, body, **json_type, Origin="http://evil.example") == 403
    assert ask(url, body, **json_type, Host="evil.example") == 403
    assert ask(url, body, **{"Content-Type": "text/plain"}) == 415
    assert ask(url, b'{"column": "base", "temperature": -1}', **json_type) == 400
    assert ask(url, b'{"column": "base", "place": 99}', **json_type) == 400
    assert ask(url, b'{"column": "nobody", "question": "?"}', **json_type) == 400


class Answers(BaseHTTPRequestHandler):
    """A server of one answer, which it also takes down what it was asked for."""

    asked: ClassVar[list[dict]] = []

    def do_POST(self):
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        choice = {
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Therefore, the answer is (B)."},
        }  # fmt: skip
        body = json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_served_model_is_asked_at_its_address(runs):
    """The server's answer, in one column of its own: the run gives prompt, rows and reading."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        engine = ["engine=openai", f"engine.base_url={url}", "engine.served_model=tuned"]
        session = Session([str(runs / "r-8")], engine)
        (column,) = session.columns
        said: list[str] = []
        answer = session.answer(column, Asked(row=session.rows[0]), on_text=said.append)
        with pytest.raises(UserError, match="a server answers with one model"):
            Session([str(runs / "r-4"), str(runs / "r-8")], engine)
        server.shutdown()
    assert column.name == f"tuned at {url}"
    assert (answer["predicted"], "".join(said)) == ("B", answer["response"])
    (asked,) = Answers.asked
    assert asked["temperature"] == 0.0
    assert asked["messages"][-1]["content"].startswith(session.rows[0]["question"])
