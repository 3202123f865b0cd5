"""What is made of a trained adapter: a merged model, a GGUF file, each checked, and an upload.

Merging rounds: the sum of weights and update is stored in 16 bit, and a base trained in 4 bit is
merged in full. So merged and adapter are compared, on held-out rows, before anyone relies on it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from medgrpo.dataset.prompt import Prompt
from medgrpo.errors import UserError
from medgrpo.evaluation.engines.base import prompt_ids
from medgrpo.evaluation.heldout import Result
from medgrpo.model.base import Model, ModelSource, Policy
from medgrpo.model.gguf import read_gguf
from medgrpo.model.save import merge, saved
from medgrpo.model.sharding import is_sharded
from medgrpo.model.to_gguf import GGUFType, write_gguf
from medgrpo.rundir import RunFolder, replacing

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

LOGPROB_TOLERANCE = 0.05  # mean |difference| of a token's log-probability, in nats
ANSWER_TOLERANCE = 0.95  # least share of rows with the same answer


@dataclass(kw_only=True)
class Export:
    """What to do once the adapter lies in the run folder."""

    merged: bool = False
    gguf: GGUFType | None = None
    parity_rows: Annotated[int, Ge(1)] = 20
    push_to: str | None = None
    private: bool = True

    def __call__(
        self,
        source: Model,
        policy: Policy,
        folder: RunFolder,
        rows: Dataset,
        result: Result,
        *,
        prompt: Prompt,
        evaluate: Callable[[Policy, Dataset], Result],
    ) -> None:
        """Merge, compare on `rows` (`result` is the adapter's), and upload, as asked for.

        `source` is where the policy's base came from, `prompt` what made the prompts of `rows`. The
        comparison is written to parity.json. Raises UserError for a base that cannot be merged
        into, and when the hub refuses.
        """
        made: dict[str, PreTrainedModel] = {}
        if self.merged:
            assert isinstance(source, ModelSource)  # preflight refuses others
            merge(source, folder.adapter, folder.merged, "bfloat16")
            made["merged"] = source.load_merged(folder.merged, policy.model)
        if self.gguf:
            assert isinstance(source, ModelSource)
            file = as_gguf(source, folder, self.gguf)
            made["gguf"] = read_gguf(file, policy.model)
        if made and is_sharded(policy.model):  # the other processes are done
            assert isinstance(source, ModelSource)
            policy = saved(source, folder.adapter)
        n = min(self.parity_rows, len(result.predictions))
        compared = {}
        for name, model in made.items():
            exported = Policy(model, policy.tokenizer)
            shared = rows.select(range(n))
            found = parity(policy, exported, shared, result, evaluate=evaluate, prompt=prompt)
            compared[name] = found
            tell = log.info if found["agrees"] else log.warning
            tell("%s against adapter, %d rows: %s", name, n, found)
        if made:
            folder.write_json("parity.json", compared.pop("merged", {}) | compared)
        if self.push_to:
            folders = [folder.merged] * self.merged + [folder.gguf] * bool(self.gguf)
            push(folder, self.push_to, private=self.private, beside=folders)


def as_gguf(source: ModelSource, folder: RunFolder, kind: GGUFType) -> Path:
    """The GGUF file of the merged model; what it is made of, in float32, is gone afterwards."""
    file = folder.gguf / f"{folder.path.name}-{kind}.gguf"
    file.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.gguf) as whole:
        merge(source, folder.adapter, Path(whole), "float32")
        with replacing(file) as temporary:
            write_gguf(Path(whole), temporary, kind)
    return file


def parity(
    policy: Policy,
    merged: Policy,
    rows: Dataset,
    result: Result,
    *,
    evaluate: Callable[[Policy, Dataset], Result],
    prompt: Prompt,
) -> dict[str, Any]:
    """How far the merged model is from the policy: log-probabilities and answers.

    Log-probabilities are those of the policy's own responses' tokens, in nats. None for no rows.
    """
    theirs = evaluate(merged, rows).predictions
    ours = result.predictions[: len(rows)]
    asked = [row["prompt"] for row in rows]
    prompts = prompt_ids(policy.tokenizer, asked, prompt.chat_template_kwargs)
    opened = prompt.prefilled(policy.tokenizer)  # of each response, by the template
    written = [one["response"].removeprefix(opened) for one in ours]
    gaps = [
        abs(a - b)
        for pair in zip(prompts, written, strict=True)
        for a, b in zip(
            response_logprobs(policy, *pair), response_logprobs(merged, *pair), strict=True
        )
    ]
    same = [a["predicted"] == b["predicted"] for a, b in zip(ours, theirs, strict=True)]
    mean = sum(gaps) / len(gaps) if gaps else None
    agreement = sum(same) / len(same) if same else None
    close = mean is None or mean <= LOGPROB_TOLERANCE
    return {
        "rows": len(rows),
        "mean_logprob_difference": mean,
        "max_logprob_difference": max(gaps, default=None),
        "same_answers": agreement,
        "tolerance": {"logprob": LOGPROB_TOLERANCE, "answers": ANSWER_TOLERANCE},
        "agrees": close and (agreement is None or agreement >= ANSWER_TOLERANCE),
    }


def response_logprobs(policy: Policy, ids: list[int], response: str) -> list[float]:
    """The log-probability of each token of `response` after the prompt `ids`, in nats."""
    import torch

    said = policy.tokenizer(response, add_special_tokens=False)["input_ids"]
    batch = torch.tensor([ids + said], device=policy.model.device)
    was_training = policy.model.training
    policy.model.eval()
    with torch.no_grad():
        logits: torch.Tensor = policy.model(batch).logits[0, len(ids) - 1 : -1].float()
    policy.model.train(was_training)
    return logits.log_softmax(dim=-1).gather(1, batch[0, len(ids) :, None])[:, 0].tolist()


def push(folder: RunFolder, repository: str, *, private: bool, beside: Sequence[Path]) -> None:
    """Upload adapter/, and the folders `beside` it as such, to the hub."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder.adapter)
        for other in beside:
            api.upload_folder(repo_id=repository, folder_path=other, path_in_repo=other.name)
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        raise UserError(
            f"export.push_to: {repository} cannot be uploaded to ({error}). Everything is in "
            f"{folder.path}; see `hf auth login`"
        ) from error
