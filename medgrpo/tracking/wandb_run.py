"""One W&B run per training run; local files stay the truth and W&B mirrors them.

Tracking never asks, never blocks and never ends a training: without a key, or without a server,
the run continues offline, and says once how to upload it. History is plotted against
`train/global_step`, as transformers' own callback does, so that runs compare with runs of others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from medgrpo.errors import UserError
from medgrpo.rundir import RunFolder
from medgrpo.tracking.wandb_mirror import STEP, mirror

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

SUMMARIES = {"train/reward": "last,max", "train/loss": "last,min", "eval/score": "last,max"}
SECONDS_TO_CONNECT = 20
SECONDS_TO_UPLOAD = 25  # at the end of a run; what is left then waits for `wandb sync`


@dataclass
class WandbTracking:
    """How a run is tracked: a context that `start` opens a W&B run in, closed on every way out."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"  # auto: online with a key
    project: str = "medgrpo"
    entity: str | None = None  # team or user; None: the account's default
    group: str | None = None  # what this run is compared with; None: its sweep
    name: str | None = None  # None: the name given to `start`
    tags: list[str] = field(default_factory=list)  # beside the tags given to `start`

    def __post_init__(self) -> None:
        self._run: wandb.Run | None = None
        self._folder: RunFolder | None = None
        self._data_dir: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(exit_code=int(error is not None))

    def start(
        self,
        folder: RunFolder,
        config: Mapping[str, Any],
        name: str,
        tags: Sequence[str] = (),
        *,
        group: str | None = None,
        job_type: str | None = None,
    ) -> wandb.Run | None:
        """Start the run in `folder` and note its id in summary.json; None when disabled.

        `config` is plain nested data without secrets. A run whose id the summary has is resumed.
        UserError for a field that W&B refuses, and when mode=online has no valid key.
        """
        mode = self._mode()
        earlier = folder.summary.pop("wandb_id", None)
        if mode == "disabled":
            return None
        arguments: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "group": self.group or group,
            "job_type": job_type,
            "name": self.name or name,
            "tags": [tag[:64] for tag in (*tags, *self.tags) if tag],  # longer ones are refused
            "config": dict(config),
            "dir": str(folder.path),
            "id": earlier,
        }
        run = self._connect(arguments) if mode == "online" else _init("offline", arguments)
        self._run, self._folder = run, folder
        self._data_dir = os.environ.get("WANDB_DATA_DIR")
        os.environ["WANDB_DATA_DIR"] = str(folder.path / "wandb")  # artifacts, too, stay here
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        for metric, summary in SUMMARIES.items():
            run.define_metric(metric, step_metric=STEP, summary=summary)
        folder.update_summary(wandb_id=run.id)
        log.info("W&B: %s", f"offline; {_how_to_sync(run)}" if run.offline else run.url)
        return run

    def finish(self, exit_code: int = 0) -> None:
        """Close the run, at most `SECONDS_TO_UPLOAD` late; exit_code 0 means it went well."""
        if self._run is None:
            return
        run, self._run = self._run, None
        assert self._folder is not None
        try:
            mirror(run, self._folder)
        except Exception:  # a full disk, a table that W&B refuses: the run itself went well
            log.exception("W&B: not all of the run was recorded")
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            log.warning("W&B: the server did not take everything; %s", _how_to_sync(run))
        os.environ.pop("WANDB_DATA_DIR")
        if self._data_dir is not None:
            os.environ["WANDB_DATA_DIR"] = self._data_dir

    def _mode(self) -> str:
        """What `auto` means here: an environment that forbids uploads, else online with a key."""
        if self.mode != "auto":
            return self.mode
        asked = os.environ.get("WANDB_MODE")
        if asked in ("offline", "disabled"):
            return asked
        return "online" if _has_key() else "offline"

    def _connect(self, arguments: dict[str, Any]) -> wandb.Run:
        """Start online, or offline where no server takes the run."""
        from wandb.errors import AuthenticationError, CommError

        if not _has_key():
            raise UserError(
                "tracking.mode=online needs a W&B key: set WANDB_API_KEY or run `wandb login`, "
                "or use tracking.mode=offline"
            )
        try:
            return _init("online", {**arguments, "resume": "allow"})
        except CommError as error:
            if self.mode == "online" and isinstance(error, AuthenticationError):
                raise UserError(f"tracking.mode=online: W&B refuses the key: {error}") from error
            log.warning("W&B: not reached, continuing offline (%s)", str(error).partition("\n")[0])
            return _init("offline", arguments)


def _init(mode: Literal["online", "offline"], arguments: dict[str, Any]) -> wandb.Run:
    """wandb.init without questions and with an end to every wait."""
    import wandb

    settings = wandb.Settings(
        silent=True,
        init_timeout=SECONDS_TO_CONNECT,
        finish_timeout=SECONDS_TO_UPLOAD,
        finish_timeout_raises=True,
    )
    try:
        return wandb.init(mode=mode, reinit="finish_previous", settings=settings, **arguments)
    except wandb.errors.UsageError as error:
        raise UserError(f"tracking: W&B refuses its fields: {error}") from error


def _has_key() -> bool:
    """Whether wandb.init would find a key without asking: in the environment or in netrc."""
    import wandb
    from wandb.sdk.lib.wbauth import read_netrc_auth

    settings = wandb.setup(wandb.Settings(silent=True)).settings
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return read_netrc_auth(host=settings.base_url) is not None
    except wandb.errors.AuthenticationError:  # there is one, malformed: wandb.init says so
        return True


def _how_to_sync(run: wandb.Run) -> str:
    """The command that uploads what lies in the run folder."""
    return f"upload with: wandb sync {os.path.relpath(run.settings.sync_dir)}"
