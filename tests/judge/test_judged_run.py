"""The true command with a judge behind an endpoint that fails, lies in wait or echoes the key."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from judge.faults import FATAL, KINDS
from judge.server import FAULTS

KEY = "sk-secret-9876543210"
CODES = re.compile("[\0-\x08\x0b-\x1f\x7f]")
SHORT = ["evaluation.limit=4", "trainer.args.per_device_train_batch_size=8"]


def overrides(server, **judge) -> list[str]:
    fields = {"base_url": server.url, "cache": "judge.sqlite", "backoff": 0.01, **judge}
    return ["judge=openai", *(f"judge.{key}={value}" for key, value in fields.items()), *SHORT]


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_wrong_key_is_found_before_a_model_is_loaded(server, medgrpo):
    server.key = "another"
    done = medgrpo(*overrides(server), "output_dir=run", OPENAI_API_KEY=KEY)
    assert done.returncode == 2, done.stderr
    assert "set the variable OPENAI_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_run_under_mixed_faults_finishes(server, medgrpo, tmp_path):
    server.faults = {fault: 0.25 / len(FAULTS) for fault in FAULTS}
    limits = {"api_key_env": "null", "attempt_timeout": 0.5, "reasons": "true"}
    steps = ["trainer.args.max_steps=20", "output_dir=run"]
    done = medgrpo(*overrides(server, **limits), *steps)
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / "run"
    assert (run / "adapter" / "adapter_model.safetensors").exists()
    logged = lines(run / "metrics.jsonl")
    assert [row["step"] for row in logged if "reward" in row] == list(range(1, 21))
    assert not [name for row in logged for name in row if name.startswith("judge/")]
    telemetry = [row for row in lines(run / "telemetry.jsonl") if "judge/cost" in row]
    assert len(telemetry) == 20
    spent = json.loads((run / "summary.json").read_text())["judge"]["total"]
    assert spent["retries"] > 0
    assert spent["bad_replies"] > 0
    assert spent["calls"] == server.counts["requests"]
    table = pq.read_table(next((run / "completions").glob("*.parquet"))).to_pylist()
    assert {"deepeval_geval_rag/missing", "deepeval_geval_rag/reason"} <= table[0].keys()
    faults = {name: server.counts[name] for name in FAULTS}
    print(f"faults {faults}, verdicts {spent['verdicts']}, failures {spent['failures']}")


@pytest.mark.slow
def test_an_outage_stops_the_run_with_a_checkpoint_and_it_goes_on(server, medgrpo, tmp_path):
    server.script = [None]  # the preflight
    server.faults = {"500": 1.0}
    limits = {"api_key_env": "null", "attempts": 1, "failure_window": 40, "cache": "null"}
    done = medgrpo(*overrides(server, **limits), "trainer.args.max_steps=6", "output_dir=run")
    assert done.returncode == 1
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith("medgrpo: none of the first ")
    assert "HTTP 500" in told
    assert "resume=" in told
    assert "Traceback" not in done.stderr
    run = tmp_path / "run"
    assert list((run / "checkpoints").glob("checkpoint-*/trainer_state.json"))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["judge"]["total"]["failures"] > 0

    server.faults = {}
    done = medgrpo("resume=run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"
    assert max(row["step"] for row in lines(run / "metrics.jsonl")) == 6


@pytest.mark.slow
def test_a_short_run_with_too_few_verdicts_has_not_finished(server, medgrpo, tmp_path):
    server.script = [None]
    server.faults = {"500": 0.3}
    limits = {"api_key_env": "null", "attempts": 1, "cache": "null", "failure_window": 20}
    limits |= {"max_failure_rate": 0.05}
    short = ["rewards=[judges]", "trainer.args.max_steps=1", "output_dir=run"]
    done = medgrpo(*overrides(server, **limits), *short)
    assert done.returncode == 1
    assert "more than judge.max_failure_rate=0.05" in done.stderr.splitlines()[-1]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "stopped"

    done = medgrpo("resume=run", "judge.max_failure_rate=1.0")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_every_kind_of_fault_in_one_run(server, medgrpo, tmp_path):
    """Each is a gap that is counted; none is a traceback, a leak or a word to the terminal."""
    server.key = KEY
    passing = sorted(KINDS.keys() - FATAL)
    server.script = [None, *(fault for kind in passing for fault in (kind, None))]
    limits = {"reasons": "true", "attempts": 1, "attempt_timeout": 1.0, "max_failure_rate": 1.0}
    tracked = ["tracking=wandb", "tracking.mode=offline", "trainer.args.max_steps=8"]
    done = medgrpo(*overrides(server, **limits), *tracked, "output_dir=run", OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    assert not CODES.search(done.stdout + done.stderr)
    assert not [kind for kind in passing if not server.counts[kind]]
    run = tmp_path / "run"
    steps = [row for row in lines(run / "telemetry.jsonl") if "judge/cost" in row]
    failures = [name for name in steps[0] if name.endswith("/failures")]
    pairs = [(name, name.replace("/failures", "/missing_rate")) for name in failures]
    assert all((row[n] > 0) == (row[r] > 0) for row in steps for n, r in pairs)
    assert sum(row[name] for row in steps for name in failures) > 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [str(file) for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_key_is_nowhere(server, medgrpo, tmp_path):
    """The endpoint echoes the Authorization header in its errors and its answers."""
    server.key = KEY
    server.faults = {"500": 0.3}
    limits = {"reasons": "true", "attempts": 1, "max_failure_rate": 1.0}
    tracked = ["tracking=wandb", "tracking.mode=offline", "trainer.args.max_steps=2"]
    server.content = None
    done = medgrpo(*overrides(server, **limits), *tracked, "output_dir=run", OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr[-3000:]
    server.key = "revoked"
    again = medgrpo(*overrides(server, **limits), "output_dir=again", OPENAI_API_KEY=KEY)
    assert again.returncode == 2
    assert "boom with Bearer ***" in done.stdout + done.stderr
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any("wandb" in file.parts for file in files)
    texts = [done.stdout, done.stderr, again.stdout, again.stderr]
    found = [str(file) for file in files if KEY.encode() in file.read_bytes()]
    assert not found
    assert not [text for text in texts if KEY in text]
