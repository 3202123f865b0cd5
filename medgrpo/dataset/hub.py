"""One split of a repository on the Hugging Face hub, with the usual failures explained."""

from __future__ import annotations

from typing import Any

from medgrpo.errors import UserError


def load_hub(
    dataset_id: str | None,
    config: str | None,
    split: str | None,
    revision: str | None,
    **more: Any,
) -> Any:
    """`datasets.load_dataset` (`more` is for it); all splits where `split` is None. UserError."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    if not dataset_id:
        raise UserError("dataset.dataset_id: dataset.source=hub needs the repository's name")
    try:
        return load_dataset(dataset_id, config, split=split, revision=revision, **more)
    except (OSError, ValueError, DatasetsError, RuntimeError) as error:  # httpx: a closed client
        raise UserError(
            f"dataset.dataset_id: cannot load {dataset_id} from the hub ({error}). "
            "Without internet, download it elsewhere and use dataset.source=path "
            "dataset.path=FILE, or try dataset.source=sample."
        ) from error
