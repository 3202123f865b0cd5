"""HealthBench (Arora et al. 2025, https://arxiv.org/abs/2505.08775): conversations and rubrics.

    {"prompt_id": "..", "prompt": [{"role": "user", "content": ".."}, ..],
     "rubrics": [{"criterion": "..", "points": 7, "tags": ["axis:accuracy"]}, ..],
     "example_tags": ["theme:global_health", ..], "ideal_completions_data": {..} or null}

The hub has a file a subset: all 5,000 rows, 1,000 hard ones, and the consensus of physicians. All
are held-out rows: who trains on conversations needs files of their own in this form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from medgrpo.dataset.hub import load_hub
from medgrpo.dataset.record import Record, texts
from medgrpo.dataset.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

_FILES = {
    "all": "2025-05-07-06-14-12_oss_eval.jsonl",
    "hard": "hard_2025-05-08-21-00-10.jsonl",
    "consensus": "consensus_2025-05-09-20-00-46.jsonl",
}
_THEME = "theme:"


@dataclass(kw_only=True)
class HealthBench(Table):
    """The rows of a subset, or of files in the same form (HealthBench Professional, say)."""

    name: ClassVar[str] = "healthbench"
    has_sample: ClassVar[bool] = True

    subset: Literal["all", "hard", "consensus"] = "all"  # which of the hub's files

    def original(self, record: Record) -> Record:
        """With the ideal completion, where physicians wrote one, as a column."""
        ideal = (record.get("ideal_completions_data") or {}).get("ideal_completion") or ""
        return super().original({**record, "ideal_completion": ideal})

    def group(self, record: Record) -> str:
        """The row's theme."""
        tags = texts(record, self.tags) if self.tags else []
        return next((tag.removeprefix(_THEME) for tag in tags if tag.startswith(_THEME)), "")

    def hub(self) -> dict[str, pa.Table]:
        """The subset's file, as the test split."""
        rows = self.hub_split("train")
        return {"test": self.labelled("test", partial(self.parse_table, rows, self.subset))}

    def hub_split(self, split: str | None, config: str | None = None) -> Any:
        return load_hub(
            self.dataset_id, config, split, self.revision, data_files=_FILES[self.subset]
        )
