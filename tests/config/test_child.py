"""A process that is started for another is ended with it, whenever that is."""

import signal
import subprocess
import sys
import threading

import pytest

from medgrpo.config.child import child

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(100)
"""


@pytest.fixture
def ends_on_sigterm():
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_while_it_starts_ends_both(monkeypatch, ends_on_sigterm):
    """It once came between the start and the place where it was waited for, and was lost."""
    started, start = [], subprocess.Popen

    def interrupted(*args, **more):
        started.append(start(*args, **more))
        signal.raise_signal(signal.SIGTERM)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(SystemExit) as ended, child(["sleep", "100"]):
        pytest.fail("the block was entered")
    assert ended.value.code == 143
    assert started[0].poll() == -signal.SIGTERM


def test_it_ends_with_the_block(ends_on_sigterm):
    with pytest.raises(SystemExit), child(["sleep", "100"]) as process:
        signal.raise_signal(signal.SIGTERM)
    assert process.poll() == -signal.SIGTERM
    with child([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert process.wait() == 3


def test_what_does_not_end_is_killed():
    command = [sys.executable, "-c", STUBBORN]
    with child(command, patience=0.5, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
    assert process.poll() == -signal.SIGKILL


def test_a_command_that_is_not_there_leaves_the_handler(ends_on_sigterm):
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FileNotFoundError), child(["/nowhere/at/all"]):
        pass
    assert signal.getsignal(signal.SIGTERM) is handler


def test_another_thread_may_start_one():
    found = []

    def start():
        with child(["true"]) as process:
            found.append(process.wait())

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert found == [0]
