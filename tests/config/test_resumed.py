"""The settings of a run, as they are held against those of the command that resumes it."""

from omegaconf import OmegaConf

from medgrpo.config.resumed import changes, settings


def test_another_environment_is_noticed_and_not_told(monkeypatch):
    config = OmegaConf.create({"a": "${oc.env:TOKEN}", "b": "${a}", "c": ["${oc.env:TOKEN}"]})
    monkeypatch.setenv("TOKEN", "hunter2")
    before = settings(config)
    assert "hunter2" not in str(before)
    assert not changes(before, settings(config))
    monkeypatch.setenv("TOKEN", "hunter3")
    assert {"a", "c"} <= changes(before, settings(config)).keys()


def test_what_another_machine_wrote_reads_no_environment(monkeypatch):
    written = {"a": "${oc.env:TOKEN}"}
    monkeypatch.setenv("TOKEN", "1")
    before = settings(written)
    monkeypatch.setenv("TOKEN", "2")
    assert settings(written) == before
