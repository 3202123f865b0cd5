"""What a folder brings is data: a run of somebody else's is resumed without running their code.

Hydra builds whatever `hydra.callbacks`, launchers and log handlers name, reads any folder of
`hydra.searchpath`, and a resolver such as `${oc.env:KEY}` reads the environment. So of what lies in
a folder only plain settings are typed again; the rest the user types, or it stays out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from medgrpo.config.overrides import key_of
from medgrpo.config.schema import Problem
from medgrpo.errors import UserError

_OVERRIDE = re.compile(r"(?P<signs>[+~]{0,2})(?P<key>\w[\w./@-]*)(=(?P<value>.*))?", re.DOTALL)
_PLAIN = re.compile(
    r"hydra/launcher=\w+|hydra\.verbose=\w+"
    r"|hydra\.launcher\.(partition|account|gpus_per_node|cpus_per_task|mem_gb|nodes|n_jobs"
    r"|timeout_min|array_parallelism|signal_delay_s|max_num_timeout)=[\w.-]+"
)
_SENDS = re.compile(
    r"(hydra\.sweeper\.params\.)?((judge(\.members\.\w+)?|engine)\.(base_url|api_key_env)|export\.push_to"
    r"|tracking\.(entity|project)|\S*vllm_server_(base_url|host))="
)
_PARAMS = "hydra.sweeper.params."
_RESOLVER = re.compile(r"\$\{[^}]*[:$]")  # ${name:..}, also where the name is ${another}

_PLUGIN = re.compile(r"(hydra\._internal\.core_plugins|hydra_plugins)\.[\w.]+")  # installed ones
_LOGGING = re.compile(
    r"(logging|logging\.handlers|medgrpo\.config\.terminal)\.[A-Z]\w*|ext://sys\.(stdout|stderr)"
)
_BUILT = {  # what may be called there, whoever asks for it
    "callbacks": re.compile(r"medgrpo\..+"),
    "launcher": _PLUGIN,
    "sweeper": _PLUGIN,
    "job_logging": _LOGGING,
    "hydra_logging": _LOGGING,
}


def read_yaml(file: Path) -> Any:
    """What a YAML file of a folder holds, as it stands there. Raises UserError for none."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{file} cannot be read ({' '.join(str(error).split())})") from None


def brought(lines: Any, folder: str, typed: Collection[str], *, own: bool = False) -> list[str]:
    """The overrides that `folder` recorded, without those whose keys are `typed` again.

    Whom to trust only a user says: `trusted_targets` is not among them. Raises UserError for what
    is more than a setting, and, unless the folder is this user's `own`, for where to send things.
    """
    if not isinstance(lines, list):
        raise UserError(f"resume: {folder} records no overrides")
    typed = {*typed, "trusted_targets"}
    lines = [line for line in lines if key_of(str(line)) not in typed]
    for line in lines:
        why = _more_than_a_setting(line)
        if not why and not own and _SENDS.match(line.lstrip("+")):
            why = "sends what is yours, a key perhaps, to an address of somebody else's"
        if why:
            raise UserError(
                f"resume: {folder} sets {line!r}, which {why}: if you trust it, type it again"
            )
    return lines


def _more_than_a_setting(line: Any) -> str | None:
    parts = _OVERRIDE.fullmatch(line) if isinstance(line, str) else None
    if parts is None:
        return "is no override"
    key, value = parts["key"], parts["value"] or ""
    if key.startswith(_PARAMS):
        return _more_than_a_setting(f"{key.removeprefix(_PARAMS)}={value}")
    if re.search(r"(^|@)hydra\b", key) and not _PLAIN.fullmatch(f"{key}={value}"):
        return "changes what Hydra runs"
    if _RESOLVER.search(value):
        return "reads more than the config"
    return None


def inert(config: Any) -> Any:
    """Nested plain data in which no `${resolver:..}` is left that could be called."""
    if isinstance(config, dict):
        return {key: inert(value) for key, value in config.items()}
    if isinstance(config, list):
        return [inert(value) for value in config]
    calls = isinstance(config, str) and _RESOLVER.search(config)
    return config.replace("${", "$ {") if calls else config


def hydra_problems(cfg: Any, trusted: Sequence[str]) -> Iterator[Problem]:
    """What `cfg.hydra` would call that is neither shipped, an installed plugin, nor trusted."""
    for group in ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging"):
        node = OmegaConf.select(cfg, f"hydra.{group}", throw_on_missing=False)
        for key, value in _called(node, f"hydra.{group}"):
            ours = any(value.startswith(f"{prefix.rstrip('.')}.") for prefix in trusted)
            if group == "callbacks" and ours and not _is_callback(value):
                yield Problem(key, f"{value} is no callback of Hydra")
            elif not (_BUILT[group].fullmatch(value) or (ours and "logging" not in group)):
                package = value.partition(".")[0]
                advice = f"is not trusted; if you trust it, add 'trusted_targets=[{package}]'"
                yield Problem(key, f"{value} {advice}")


def _called(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """(dotted key, value) of all in a config node that Hydra or logging would look up."""
    if not OmegaConf.is_config(node):
        return
    for name in node if OmegaConf.is_dict(node) else range(len(node)):
        try:
            value = node[name]
        except OmegaConfBaseException:
            value = "(unresolved)"
        yield from _called(value, f"{path}.{name}")
        if name in ("_target_", "()", "class") or str(value).startswith(("ext://", "cfg://")):
            yield f"{path}.{name}", str(value)


def _is_callback(target: str) -> bool:
    try:
        found = get_object(target)
    except Exception:  # whatever a trusted module raises
        return False
    return isinstance(found, type) and issubclass(found, Callback)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The composed config as plain nested data, references resolved.

    What is read from elsewhere (`${oc.env:KEY}`) may be a secret, and stays as it is written.
    """
    written: Any = inert(OmegaConf.to_container(cfg))
    resolved: Any = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    return {**resolved, "output_dir": cfg.output_dir}
