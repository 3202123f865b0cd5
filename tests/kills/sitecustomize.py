"""Ends a process by a signal at an exact place: KILL_AT=module:function:call:before|after:SIGKILL.

Python runs this at its start where it is on PYTHONPATH. Under torchrun, rank 0 alone is ended.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys

if "KILL_AT" in os.environ and os.environ.get("RANK", "0") == "0":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    MODULE, NAME, CALL, WHEN, SIGNAL = os.environ["KILL_AT"].split(":")

    def end() -> None:
        if not os.path.exists(os.environ["KILL_ONCE"]):
            open(os.environ["KILL_ONCE"], "w").close()
            os.kill(os.getpid(), signal.Signals[SIGNAL])

    class Finder(importlib.abc.MetaPathFinder):
        """Patches MODULE's function as soon as the module has been imported."""

        def find_spec(self, name, path, target=None):
            if name != MODULE:
                return None
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                *owners, last = NAME.split(".")
                owner = module
                for each in owners:
                    owner = getattr(owner, each)
                original, calls = getattr(owner, last), iter(range(1, 10**6))

                def patched(*args, **kwargs):
                    now = next(calls) == int(CALL)
                    if now and WHEN == "before":
                        end()
                    result = original(*args, **kwargs)
                    if now and WHEN == "after":
                        end()
                    return result

                setattr(owner, last, patched)

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder())
