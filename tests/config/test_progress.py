"""What a person, or a log, hears of work under way."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from medgrpo.config import progress
from medgrpo.config.progress import Phase


@pytest.fixture(autouse=True)
def impatient(monkeypatch, caplog):
    monkeypatch.setattr(progress, "QUIET", 0.2)
    caplog.set_level(logging.INFO)


def test_a_slow_part_says_that_it_goes_on(caplog):
    with Phase("evaluating (test)", 50) as phase:
        time.sleep(0.3)
        phase.update(10, "accuracy so far 0.400")
        time.sleep(0.3)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "evaluating (test): 0 of 50, 0:00"
    assert lines[1] == "evaluating (test): 10 of 50, accuracy so far 0.400, 0:00, about 0:02 left"


def test_a_fast_one_and_one_that_somebody_else_tells_of_say_nothing(caplog):
    with Phase("reading data"):
        pass
    with Phase("training", 9) as phase:
        for _ in range(6):
            time.sleep(0.1)
            phase.heard()
    assert caplog.records == []


def test_what_was_done_before_makes_no_speed():
    phase = Phase("training", 100, done=90)
    assert phase.line() == "training: 90 of 100, 0:00"


def test_an_error_passes_and_ends_the_line(caplog):
    with pytest.raises(ValueError, match="broken"), Phase("exporting"):
        raise ValueError("broken")
    time.sleep(0.3)
    assert caplog.records == []


def test_a_terminal_gets_a_bar_that_goes_away(tmp_path):
    code = (
        "import time; from medgrpo.config.progress import Phase\n"
        "with Phase('evaluating (test)', 4) as phase:\n"
        "    phase.update(2, 'accuracy so far 0.500'); time.sleep(1.2)\n"
        "print('done')"
    )
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=theirs, env=environment):
        os.close(theirs)
        output = b""
        while part := _read(ours):
            output += part
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).replace("\r", "\n")
    frames = [line for line in text.splitlines() if line.startswith("evaluating")]
    assert re.match(r"evaluating \(test\) 2/4 ━+.* accuracy so far 0.500 ETA", frames[-1])
    assert max(map(len, frames)) <= 80
    assert text.rstrip().endswith("done")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side has closed
        return b""
