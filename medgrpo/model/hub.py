"""What the hub says about a model or dataset before it is downloaded, and what is here already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medgrpo.model.base import ModelSource

SECONDS = 5.0  # for an answer
FROM_HERE = {"model": "{0}.name_or_path=FOLDER", "dataset": "{0}.source=path {0}.path=FILE"}


def hub_problems(key: str, kind: str, name: str, revision: str | None) -> Iterator[str]:
    """Ask the hub once, without retries, whether we may read `name`."""
    from httpx import HTTPError
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = HfApi()
    elsewhere = f"; or give a folder: {FROM_HERE[kind].format(key.rpartition('.')[0])}"
    try:
        hub.repo_info(name, repo_type=kind, revision=revision, timeout=SECONDS)
        hub.auth_check(name, repo_type=kind)
    except HFValidationError:
        yield f"{key}: {name} is no folder here and no hub id (user/name)"
    except GatedRepoError:
        yield (
            f"{key}: {name} is gated; accept its terms at {constants.ENDPOINT}/{name} and set "
            f"HF_TOKEN to a token of that account{elsewhere}"
        )
    except RevisionNotFoundError:
        yield f"{key}: {name} has no revision {revision}"
    except RepositoryNotFoundError:
        yield (
            f"{key}: {name} is not on the hub (or private: set HF_TOKEN), nor is it a folder here"
        )
    except OfflineModeIsEnabled:
        yield f"{key}: {name} is not in the cache and HF_HUB_OFFLINE forbids asking{elsewhere}"
    except (HTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        yield f"{key}: {constants.ENDPOINT} cannot be asked for {name} ({reason}){elsewhere}"


def hub_cache() -> Path:
    """Where what comes from the hub is kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_dataset(dataset_id: str) -> bool:
    """Whether a dataset was downloaded before."""
    return (hub_cache() / f"datasets--{dataset_id.replace('/', '--')}").exists()


def cached_config(model: ModelSource) -> Path | None:
    """The cached config.json, if the weights lie beside it (Unsloth's own copy: somewhere else)."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(model.name_or_path, "config.json", revision=model.revision)
    except HFValidationError:
        return None
    if not isinstance(file, str):
        return None
    complete = model.loads_prequantized or any(Path(file).parent.glob("*.safetensors"))
    return Path(file) if complete else None
