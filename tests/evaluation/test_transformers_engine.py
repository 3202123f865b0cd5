"""Generation with a real Llama, random and tiny: batches answer as single prompts do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from medgrpo.evaluation.engines.base import Decoding, Generation
from medgrpo.evaluation.engines.transformers_engine import TransformersEngine
from medgrpo.model.base import Policy

PROMPTS = [
    [{"role": "user", "content": " ".join(f"w{(7 * i + j) % 59}" for j in range(1 + 5 * i % 23))}]
    for i in range(12)
]


def ask(
    model: Any, tokenizer: Any, on_answers: Any = lambda answers: None, **options: Any
) -> list[Generation]:
    decoding = Decoding(**{"batch_size": 4, "max_new_tokens": 12, **options})
    policy = Policy(model, tokenizer)
    return TransformersEngine().generate(policy, PROMPTS, decoding, on_answers)


def test_batches_answer_as_single_prompts_do(model: Any, tokenizer: Any) -> None:
    one_by_one = ask(model, tokenizer, batch_size=1)
    assert len({answer.text for answer in one_by_one}) > 6
    assert len({answer.tokens for answer in one_by_one}) > 1
    for batch_size in (3, 12, 50):
        assert ask(model, tokenizer, batch_size=batch_size) == one_by_one


def test_a_batch_of_long_prompts_is_smaller(model: Any, tokenizer: Any) -> None:
    """`generate` holds no more tokens at a time than `batch_tokens`, but for a single prompt."""
    shapes = []
    generate = model.generate

    def counted(input_ids: torch.Tensor, **more: Any) -> Any:
        shapes.append(tuple(input_ids.shape))
        return generate(input_ids=input_ids, **more)

    model.generate = counted
    whole = ask(model, tokenizer, batch_size=12)
    longest = shapes[0][1]
    shapes.clear()
    assert ask(model, tokenizer, batch_size=12, batch_tokens=3 * (longest + 12)) == whole
    assert shapes[0] == (3, longest)
    assert max(rows for rows, _ in shapes) > 3
    assert all(rows * (length + 12) <= 3 * (longest + 12) for rows, length in shapes)
    shapes.clear()
    assert ask(model, tokenizer, batch_size=12, batch_tokens=1) == whole
    assert [rows for rows, _ in shapes] == [1] * 12


def test_greedy_is_the_likeliest_token_whatever_the_model_carries(
    model: Any, tokenizer: Any
) -> None:
    expected = []
    model.eval()
    for prompt in PROMPTS:
        text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text)["input_ids"]
        start = len(ids)
        while len(ids) < start + 12 and ids[-1] != 1:
            ids.append(model(torch.tensor([ids])).logits[0, -1].argmax().item())
        text = tokenizer.decode(ids[start:], skip_special_tokens=True)
        expected.append(Generation(text, len(ids) - start, ids[-1] != 1))
    model.generation_config.update(
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        top_k=20,
        repetition_penalty=5.0,
        use_cache=False,
    )
    assert ask(model, tokenizer) == expected


def test_tokens_count_the_end_token_and_no_padding(model: Any, tokenizer: Any) -> None:
    for answer in ask(model, tokenizer, batch_size=12):
        words = len(answer.text.split())
        ended = answer.tokens < 12
        assert "<" not in answer.text
        assert words == answer.tokens - 1 if ended else words in (11, 12)


def test_what_has_no_end_token_was_cut_off(model: Any, tokenizer: Any) -> None:
    """Also at the very last token: one that ends there is whole."""
    longest = max(answer.tokens for answer in ask(model, tokenizer) if not answer.truncated)
    for limit in (longest, longest - 1):
        answers = ask(model, tokenizer, batch_size=5, max_new_tokens=limit)
        cut = [answer for answer in answers if answer.truncated]
        assert all(answer.tokens == limit for answer in cut)
        assert {len(cut), len(answers)} != {0, 12}
        whole = max(answer.tokens for answer in answers if not answer.truncated)
        assert whole == limit if limit == longest else whole <= limit


def test_every_end_token_of_the_model_ends_a_response(model: Any, tokenizer: Any) -> None:
    before = [answer.text.split() for answer in ask(model, tokenizer)]
    end = max(before, key=len)[3]
    model.generation_config.eos_token_id = [7, tokenizer.convert_tokens_to_ids(end)]
    for words, answer in zip(before, ask(model, tokenizer), strict=True):
        if end in words:
            assert answer.tokens == words.index(end) + 1


def test_without_an_end_token_of_the_model_the_tokenizers_ends_it(
    model: Any, tokenizer: Any
) -> None:
    expected = ask(model, tokenizer)
    model.generation_config.eos_token_id = None
    assert ask(model, tokenizer) == expected


def test_longest_prompts_go_first(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that will not suffice fails at the first batch, not at the last."""
    widths: list[int] = []
    write = model.generate

    def spy(input_ids: Any, **options: Any) -> Any:
        widths.append(input_ids.shape[1])
        return write(input_ids=input_ids, **options)

    monkeypatch.setattr(model, "generate", spy)
    ask(model, tokenizer)
    assert len(set(widths)) == 3
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("training", [True, False])
def test_model_and_tokenizer_come_back_as_they_were(
    model: Any, tokenizer: Any, training: bool
) -> None:
    model.train(training)
    model.config.use_cache = False
    before = model.generation_config.to_dict()
    ask(model, tokenizer)
    assert model.training is training
    assert model.config.use_cache is False
    assert tokenizer.padding_side == "right"
    assert model.generation_config.to_dict() == before
    model(torch.tensor([[5, 6]]), labels=torch.tensor([[5, 6]])).loss.backward()


def test_what_unsloth_changes_to_generate_is_undone(
    model: Any, tokenizer: Any, monkeypatch: Any
) -> None:
    """It turns checkpointing off and marks modules; training would go on that way."""
    generate = model.generate

    def as_unsloths(**options: Any) -> Any:
        for module in model.modules():
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = False
            module._flag_for_generation = True
        return generate(**options)

    model.gradient_checkpointing_enable()
    model.train()
    on = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    monkeypatch.setattr(model, "generate", as_unsloths)
    ask(model, tokenizer)
    assert on
    assert all(module.gradient_checkpointing for module in on)
    assert not any(hasattr(module, "_flag_for_generation") for module in model.modules())


def test_training_mode_comes_back_after_an_error(model: Any, tokenizer: Any) -> None:
    def stop(answers: object) -> None:
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        ask(model, tokenizer, on_answers=stop)
    assert model.training


def test_adapters_take_part(model: Any, tokenizer: Any) -> None:
    base = ask(model, tokenizer)
    tuned = get_peft_model(model, LoraConfig(r=4, init_lora_weights=True, lora_dropout=0.5))
    tuned.train()
    assert ask(tuned, tokenizer) == base  # a fresh adapter changes nothing, dropout is off
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    changed = ask(tuned, tokenizer)
    assert changed != base
    assert changed == ask(tuned, tokenizer, batch_size=1)


def test_progress_and_template_arguments(model: Any, tokenizer: Any) -> None:
    seen: list[dict[int, Generation]] = []
    plain = ask(model, tokenizer, batch_size=5, on_answers=seen.append)
    assert [len(new) for new in seen] == [5, 5, 2]
    assert [answer for _, answer in sorted({**seen[0], **seen[1], **seen[2]}.items())] == plain
    assert ask(model, tokenizer, chat_template_kwargs={"loud": True}) != plain


def test_no_prompts_no_answers(model: Any, tokenizer: Any) -> None:
    policy = Policy(model, tokenizer)
    assert TransformersEngine().generate(policy, [], Decoding(batch_size=4, max_new_tokens=4)) == []


def test_sampling_varies_repeats_and_leaves_random_numbers_alone(
    model: Any, tokenizer: Any
) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = ask(model, tokenizer, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert ask(model, tokenizer, temperature=1.0) == first
    assert first != ask(model, tokenizer)
