"""Connecting to W&B without a question and with an end to every wait."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Literal

from medgrpo.errors import UserError

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)

SECONDS_TO_CONNECT = 20
SECONDS_TO_UPLOAD = 25  # at the end of a run; what is left then waits for `wandb sync`

Mode = Literal["auto", "online", "offline", "disabled"]


def resolve(mode: Mode) -> str:
    """What `auto` means here: an environment that forbids uploads, else online with a key."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE")
    if asked in ("offline", "disabled"):
        return asked
    return "online" if _has_key() else "offline"


def connect(insist: bool, arguments: dict[str, Any]) -> wandb.Run:
    """Start a run online, or offline where no server takes it.

    UserError without a key, and (with `insist`) for one that the server refuses.
    """
    from wandb.errors import AuthenticationError, CommError

    if not _has_key():
        raise UserError(
            "tracking.mode=online needs a W&B key: set WANDB_API_KEY or run `wandb login`, "
            "or use tracking.mode=offline"
        )
    try:
        return init("online", {**arguments, "resume": "allow"})
    except CommError as error:
        if insist and isinstance(error, AuthenticationError):
            raise UserError(f"tracking.mode=online: W&B refuses the key: {error}") from error
        log.warning("W&B: not reached, continuing offline (%s)", str(error).partition("\n")[0])
        return init("offline", arguments)


def init(mode: Literal["online", "offline"], arguments: dict[str, Any]) -> wandb.Run:
    """wandb.init, silent and with time limits. UserError for a field that it refuses."""
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


def answers(url: str) -> bool:
    """Whether a server answers within 3 s, be it by an error."""
    try:
        urllib.request.urlopen(url, timeout=3).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def how_to_sync(run: wandb.Run) -> str:
    """The command that uploads what lies in the run folder."""
    return f"upload with: wandb sync {os.path.relpath(run.settings.sync_dir)}"


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
