"""The tiny model's tokenizer: byte-level BPE, with whole lines of its prompts as single tokens.

A model of a million parameters never learnt to tie an option to its letter when "D) penicillin"
was several tokens (44 % after 750 steps); as one token it does in minutes. The pre-tokenizer
therefore keeps together: a system message of a shipped prompt style, an option line, a
conclusion after a colon, a tag, a newline, a p value. Pieces that the lessons contain are in the
vocabulary as they are; all other text falls back to BPE merges over bytes, so that anything can
be encoded and comes back unchanged.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
MERGES = 500
RARE = 3  # pieces seen less often are left to BPE
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_FIGURES = r"\d+% against \d+%, p[=<][01]\.\d+"
_PIECES = [
    r"[A-J]\) [^\n]+",  # an option line
    r"\([A-J]\) [^\n().]+| (?=\([A-J]\) )",  # an option in the choice_cot style
    r": [^\n.:;,]+(?=\.)",  # a conclusion
    r"</?[a-z]+>",
    r"\n",
    rf" [a-z ]{{1,30}} {_FIGURES}(?:, later {_FIGURES})?",  # an outcome of a trial with its numbers
    r" ?p[=<][01]\.\d+",
    r" ?\d+%",
    r" ?-?[A-Za-z0-9][A-Za-z0-9-]*",
    r" ?[^\sA-Za-z0-9]+",
    r"\s+",
]


def make_tokenizer(texts: list[str], system_messages: list[str]) -> PreTrainedTokenizerFast:
    """Learn the vocabulary from `texts`; each of `system_messages` becomes one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    split = Regex("|".join([*map(re.escape, system_messages), *_PIECES]))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(split, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    special = [PAD, END, SYSTEM, USER, ASSISTANT]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + len(alphabet) + MERGES,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    counts = Counter(
        piece
        for text in [*texts, *system_messages * RARE]
        for piece, _ in bpe.pre_tokenizer.pre_tokenize_str(text)
    )
    spec = json.loads(bpe.to_str())
    vocabulary = spec["model"]["vocab"]
    for piece, count in sorted(counts.items()):
        if count >= RARE:
            vocabulary.setdefault(piece, len(vocabulary))
    spec["model"]["ignore_merges"] = True  # a piece of the vocabulary is one token
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(spec)),
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
