"""How likely a model finds each label of a question, without writing anything.

What log-likelihood benchmarks compare (lm-evaluation-harness), and what calibration is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from medgrpo.config.progress import Phase
from medgrpo.dataset.example import LETTERS, YES_NO_MAYBE, Example, is_multi_select
from medgrpo.metrics.prediction import Prediction

if TYPE_CHECKING:
    import torch

    from medgrpo.dataset.prompt import Prompt
    from medgrpo.model.base import Policy

LEADS = {  # what stands between prompt and label: an answer at once, in the form of the prompt
    "reasoning": "<answer>\n",
    "choice_cot": "The answer is (",
}


def note_logprobs(
    predictions: Sequence[Prediction],
    rows: Sequence[Example],
    prompt: Prompt,
    likely: Callable[..., list[list[float]]],
    lead: str | None = None,
) -> None:
    """Write into the predictions how likely the labels are, of rows with one right option.

    `likely` is an engine's `option_logprobs` with a policy, `lead` what stands between prompt and
    label (None: by the prompt's style). A space at its end belongs to the label, as in " A": that
    is how tokenizers have it, and lm-evaluation-harness.
    """
    text = LEADS[prompt.style] if lead is None else lead
    spaces = " " * (len(text) - len(text.rstrip(" ")))
    choices = [labels_of(row) for row in rows]
    asked = [place for place, labels in enumerate(choices) if labels]
    with Phase(f"log-probabilities of options ({len(asked)} rows)"):
        found = likely(
            [prompt.messages(rows[place]) for place in asked],
            [[spaces + label for label in choices[place]] for place in asked],
            lead=text.removesuffix(spaces),
        )
    for prediction in predictions:
        prediction["option_logprobs"] = None
    for place, logprobs in zip(asked, found, strict=True):
        predictions[place]["option_logprobs"] = logprobs


def labels_of(row: Example) -> list[str]:
    """What a row with one right option may be answered with; [] for any other."""
    if row["options"] and row["label"] and not is_multi_select(row["label"]):
        return list(LETTERS[: len(row["options"])])
    return list(YES_NO_MAYBE) if row["label"] in YES_NO_MAYBE else []


def label_logprobs(
    policy: Policy, prompts: Sequence[list[int]], labels: Sequence[Sequence[str]], batch_size: int
) -> list[list[float]]:
    """Log-probabilities (nats) of each prompt's labels, in their order: of all tokens of a label.

    `prompts` are token ids; a label is tokenised by itself. Labels of one token, the usual ones,
    take one pass a prompt.
    """
    asked: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}  # what is read: for whom
    for place, (ids, some) in enumerate(zip(prompts, labels, strict=True)):
        for number, label in enumerate(some):
            said = policy.tokenizer(label, add_special_tokens=False)["input_ids"]
            asked.setdefault((*ids, *said[:-1]), []).append((place, number, said))
    found = [[0.0] * len(some) for some in labels]
    order = sorted(asked, key=len, reverse=True)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        longest = max(len(said) for read in batch for *_, said in asked[read])
        logs = _last_logprobs(policy, batch, longest)
        for row, read in enumerate(batch):
            for place, number, said in asked[read]:
                steps = range(-len(said), 0)
                found[place][number] = sum(float(logs[row, step, said[step]]) for step in steps)
    return found


def _last_logprobs(policy: Policy, read: Sequence[Sequence[int]], count: int) -> torch.Tensor:
    """What follows each of the last `count` tokens of what is read: [rows, count, vocabulary]."""
    model, tokenizer = policy
    batch = tokenizer.pad(
        {"input_ids": [list(ids) for ids in read]}, padding_side="left", return_tensors="pt"
    ).to(model.device)
    places = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    logits = model(**batch, position_ids=places, logits_to_keep=count).logits[:, -count:]
    return logits.float().log_softmax(dim=-1).cpu()
