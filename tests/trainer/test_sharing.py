"""A prompt that is read once for its group gives what plain TRL gives, but for rounding."""

from __future__ import annotations

from zlib import crc32

import pytest
import torch
import trl
from datasets import Dataset
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from medgrpo.model.shared_prompts import obstacle
from medgrpo.model.tiny.build import WEIGHTS
from medgrpo.trainer.sharing import Sharing

FUSED = hasattr(trl.trainer.utils, "add_fused_lm_head")  # TRL 1.16: float32 whatever the model's
DTYPE = torch.float32 if FUSED else torch.float64
# relative: of one pass, and of weights after some steps
EXACT, CLOSE = (1e-5, 1e-3) if FUSED else (1e-12, 1e-9)
QUESTIONS = ["Which vitamin prevents scurvy?", "What is it?", "Which hormone does the thyroid make",
             "Which class has the drug atenolol, of those that lower blood pressure?"]  # fmt: skip
BRIEF = {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 12}
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 97,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
         "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}  # fmt: skip
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 97, "n_positions": 128}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
ARCHITECTURES = {
    "llama": SMALL,
    "qwen2": SMALL,
    "qwen3": {**SMALL, "head_dim": 8},
    "mistral": {**SMALL, "sliding_window": 7},
    "gemma2": {**SMALL, "head_dim": 8, "sliding_window": 7},
    "gemma3_text": {**SMALL, "head_dim": 8, "sliding_window": 7},
    "phi3": {**SMALL, "sliding_window": 7},
    "olmo2": SMALL,
    "granite": SMALL,
    "starcoder2": {**SMALL, "sliding_window": 7, "residual_dropout": 0.0},
    "smollm3": SMALL,
    "gpt2": {**GPT2, **NO_DROPOUT},
}


class Shared(Sharing, GRPOTrainer):
    """As the run makes it, without our recording."""


@pytest.fixture
def in_double(monkeypatch):
    """What transformers computes in float32 whatever the model's type, in float64 here."""
    if FUSED:
        return
    to, softmax = torch.Tensor.to, torch.nn.functional.softmax

    def kept(tensor, *args, **kwargs):
        wanted = args[0] if args else kwargs.get("dtype")
        down = tensor.dtype == torch.float64 and wanted is torch.float32
        return tensor if down else to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", kept)
    wide = (torch.float64, torch.int64)  # positions, too
    single = torch.Tensor.float
    monkeypatch.setattr(
        torch.Tensor,
        "float",
        lambda one: to(one, torch.float64) if one.dtype in wide else single(one),
    )
    monkeypatch.setattr(
        torch.nn.functional, "softmax", lambda x, dim=None, dtype=None: softmax(x, dim)
    )


def policy(dtype=DTYPE, dropout: float = 0.0, seed: int = 0):
    """The embedded model with an adapter that does something."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=dtype).to(dtype)  # buffers, too
    lora = LoraConfig(r=4, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora, autocast_adapter_dtype=False)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    return model


def reward(completions, **columns):
    """Something that differs between completions and is the same for equal ones."""
    return [crc32(one[0]["content"].encode()) % 100 / 100 for one in completions]


def trainer_of(kind, folder, model=None, **args):
    rows = [{"prompt": [{"role": "user", "content": q}]} for q in QUESTIONS * 4]
    args = {**BRIEF, "learning_rate": 1e-3, "beta": 0.0, "max_steps": 3, **args}
    args.setdefault("gradient_checkpointing", False)
    return kind(
        model=model if model is not None else policy(),
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", save_strategy="no",
            logging_steps=1, disable_tqdm=True, **args,
        ),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:4]),
        processing_class=AutoTokenizer.from_pretrained(WEIGHTS),
    )  # fmt: skip


def trained(kind, folder, model=None, **args):
    """The completions that were sampled, the logged losses, and the weights that remain."""
    trainer = trainer_of(kind, folder, model, **args)
    sampled = []
    inner = trainer._generate_single_turn

    def generate(*given, **more):
        made = inner(*given, **more)
        sampled.extend(made[0])
        return made

    trainer._generate_single_turn = generate
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    weights = {n: w.detach().clone() for n, w in trainer.model.named_parameters() if "lora" in n}
    return sampled, losses, weights, trainer


def distance(first, second) -> float:
    """The norm of the difference, relative to the norm."""
    first, second = ([t.double().flatten() for t in one] for one in (first, second))
    a, b = torch.cat(first), torch.cat(second)
    return ((a - b).norm() / a.norm()).item()


def batch_of(rows, completion=9, vocabulary=97):
    """Ids and mask of `rows` completions over two prompts, padded on both sides; pad is eos."""
    draw = torch.Generator().manual_seed(0)
    prompts = torch.randint(3, vocabulary, (2, 11), generator=draw)
    mask = torch.ones(2, 11, dtype=torch.long)
    prompts[1, :4], mask[1, :4] = 1, 0
    place = torch.arange(rows) % 3 // 2  # groups of 2:1
    written = torch.randint(3, vocabulary, (rows, completion), generator=draw)
    kept = torch.ones(rows, completion, dtype=torch.long)
    written[0, 5:], kept[0, 5:] = 1, 0
    kept[1] = 0  # a row that is masked as a whole
    ids = torch.cat([prompts[place], written], dim=1)
    return ids, torch.cat([mask[place], kept], dim=1), completion


def passes(trainer, model, batch, weights=None):
    """Log-probabilities, entropies and gradients of a weighted sum of both."""
    ids, mask, keep = batch
    logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
        model, ids, mask, keep, compute_entropy=True
    )
    shown = mask[:, -keep:]
    if weights is None:
        weights = torch.linspace(-1, 1, logps.numel(), dtype=logps.dtype).view_as(logps)
    model.zero_grad()
    (logps * shown * weights).sum().backward()
    gradients = [w.grad.clone() for w in model.parameters() if w.grad is not None]
    return (logps * shown).detach(), (entropies * shown).detach(), gradients


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_an_architecture_gives_the_same_to_rounding(tmp_path, in_double, name, attention):
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **ARCHITECTURES[name])
    config._attn_implementation = attention
    model = AutoModelForCausalLM.from_config(config).to(DTYPE).train()
    assert obstacle(model) is None
    shared, plain = (trainer_of(kind, tmp_path, model) for kind in (Shared, GRPOTrainer))
    counted = forwarded(model)
    found = [passes(one, model, batch_of(6)) for one in (shared, plain)]
    assert counted[:2] == [(2, 10), (6, 10)]
    assert counted[2:] == [(6, 20)]
    for ours, theirs in zip(found[0][:2], found[1][:2], strict=True):
        assert distance([theirs], [ours]) < EXACT
    assert distance(found[1][2], found[0][2]) < EXACT


def forwarded(model) -> list[tuple[int, int]]:
    """Rows and tokens of each forward pass from now on."""
    counted: list[tuple[int, int]] = []

    def count(module, args, kwargs):
        counted.append(tuple(kwargs["input_ids"].shape))

    model.register_forward_pre_hook(count, with_kwargs=True)
    return counted


CASES = {
    "as it is": {},
    "one prompt a batch": {"per_device_train_batch_size": 4},
    "accumulation": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    "iterations": {"num_iterations": 2},
    "steps a generation": {"steps_per_generation": 4},
    "kl": {"beta": 0.04},
    "sequence ratios": {"importance_sampling_level": "sequence", "num_iterations": 2},
    "high entropy": {"top_entropy_quantile": 0.5},
    "entropy bonus": {"entropy_coef": 0.01},
    "masked": {"mask_truncated_completions": True, "max_completion_length": 4},
    "bnpo": {"loss_type": "bnpo", "gradient_accumulation_steps": 2},
    "dr_grpo": {"loss_type": "dr_grpo", "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("name", CASES)
def test_a_training_samples_and_learns_the_same(tmp_path, in_double, name):
    ours = trained(Shared, tmp_path / "ours", **CASES[name])
    theirs = trained(GRPOTrainer, tmp_path / "theirs", **CASES[name])
    assert ours[0] == theirs[0]
    assert len({tuple(one) for one in ours[0]}) > len(ours[0]) // 2
    assert ours[1] == pytest.approx(theirs[1], rel=1e-5, abs=1e-7)  # as they are logged, in float32
    assert distance(theirs[2].values(), ours[2].values()) < CLOSE
    measured = []
    for one in (ours, theirs):
        torch.manual_seed(7)
        measured.append(one[3].evaluate()["eval_loss"])
    assert measured[0] == pytest.approx(measured[1], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 10), (torch.bfloat16, 10)])
def test_in_other_types_the_difference_is_that_of_plain_trl_in_other_batches(tmp_path, dtype, most):
    """The floor: what plain TRL's own rows differ by when they are forwarded one by one."""
    model = policy(dtype)
    shared, plain = (trainer_of(kind, tmp_path, model) for kind in (Shared, GRPOTrainer))
    batch = batch_of(8, vocabulary=2000)
    ids, mask, keep = batch
    reference = passes(plain, model, batch)
    ours = passes(shared, model, batch)
    alone = [passes(plain, model, (ids[[n]], mask[[n]], keep))[0] for n in range(8)]
    floor = distance([reference[0]], [torch.cat(alone)])
    assert distance([reference[0]], [ours[0]]) <= most * max(floor, torch.finfo(dtype).eps / 10)


def test_gradients_differ_by_what_plain_trl_differs_by_under_permuted_rows(tmp_path):
    model = policy(torch.float32)
    shared, plain = (trainer_of(kind, tmp_path, model) for kind in (Shared, GRPOTrainer))
    ids, mask, keep = batch_of(8, vocabulary=2000)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    weights = torch.linspace(-1, 1, 8 * keep).view(8, keep)
    reference = passes(plain, model, (ids, mask, keep), weights)[2]
    permuted = passes(plain, model, (ids[order], mask[order], keep), weights[order])[2]
    ours = passes(shared, model, (ids, mask, keep), weights)[2]
    floor = distance(reference, permuted)
    assert floor > 0
    assert distance(reference, ours) <= 10 * floor


def test_bfloat16_is_as_far_from_float32_as_plain_trl_is(tmp_path):
    """There a row is computed alike in any order, and what is rounded is far more."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = policy(torch.float32).to(dtype)
        for kind in (Shared, GRPOTrainer):
            trainer = trainer_of(kind, tmp_path, model)
            weights = torch.linspace(-1, 1, 8 * 9, dtype=dtype).view(8, 9)
            found[kind, dtype] = passes(trainer, model, batch_of(8, vocabulary=2000), weights)[2]
    exact = found[GRPOTrainer, torch.float32]
    ours, theirs = (distance(exact, found[kind, torch.bfloat16]) for kind in (Shared, GRPOTrainer))
    print(f"bfloat16 against float32: plain {theirs:.1e}, shared {ours:.1e}")
    assert ours <= 1.5 * theirs


@pytest.mark.parametrize("loss", ["dapo", "cispo", "grpo", "dr_grpo"])
def test_rows_of_a_prompt_come_back_together(tmp_path, in_double, loss):
    """Micro-batches of 4 hold one prompt each, and the step is the one of shuffled rows."""
    size = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "max_steps": 2}
    ours = trained(Shared, tmp_path / "ours", loss_type=loss, **size)
    theirs = trained(GRPOTrainer, tmp_path / "theirs", loss_type=loss, **size)
    for one, prompts in ((ours, {1}), (theirs, {2, 3, 4})):
        batches = one[3]._buffered_inputs
        assert {len(batch["prompt_ids"].unique(dim=0)) for batch in batches} <= prompts
    assert ours[0] == theirs[0]
    assert distance(theirs[2].values(), ours[2].values()) < CLOSE


PLAIN = {  # what is the same to the bit, and why it is
    "bnpo": ({"loss_type": "bnpo", "gradient_accumulation_steps": 2}, "loss_type=bnpo depends"),
    "several steps": ({"steps_per_generation": 4}, "several optimizer steps have one generation"),
    "entropy": ({"top_entropy_quantile": 0.5}, "the entropy of a batch is in the loss"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_rows_that_cannot_be_moved_stay(tmp_path, name):
    args, why = PLAIN[name]
    trainer = trainer_of(Shared, tmp_path, **args)
    assert f"rows stay where they are drawn: {why}" in trainer.sharing_in_words()


GPU_KERNELS = ("rope", "rms_norm", "swiglu", "cross_entropy", "fused_linear_cross_entropy")


def bits(kind, folder, dropout=0.0, **args):
    torch.manual_seed(0)
    sampled, losses, weights, trainer = trained(
        kind, folder, policy(torch.float32, dropout), max_steps=2, **args
    )
    return sampled, losses, [w.tolist() for w in weights.values()], trainer


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"dropout": 0.1}, "once a completion: dropout would be drawn once"),
        ({"use_liger_kernel": True, "liger_kernel_config": dict.fromkeys(GPU_KERNELS, False)},
         "once a completion: Liger computes the loss"),
        ({"gradient_checkpointing": True}, "once a completion to train: gradient checkpointing"),
        ({"num_generations": 8, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
         "once for its group"),
    ],
)  # fmt: skip
def test_where_nothing_is_shared_it_is_plain_trl_to_the_bit(tmp_path, args, why, request):
    """Of one row a micro-batch, and with checkpointing, generation alone is shared."""
    if "use_liger_kernel" in args:
        pytest.importorskip("liger_kernel")
    ours = bits(Shared, tmp_path / "ours", **args)
    theirs = bits(GRPOTrainer, tmp_path / "theirs", **args)
    assert ours[:3] == theirs[:3]
    assert why in ours[3].sharing_in_words()


def test_an_adapter_of_virtual_tokens_is_plain_trl_to_the_bit(tmp_path):
    found = []
    for kind in (Shared, GRPOTrainer):
        torch.manual_seed(0)
        tuned = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(WEIGHTS), tuned)
        trainer = trainer_of(kind, tmp_path, model, max_steps=2)
        trainer.train()
        found.append([w.tolist() for w in trainer.model.parameters() if w.requires_grad])
        if kind is Shared:
            assert "the adapter puts tokens before the prompt" in trainer.sharing_in_words()
    assert found[0] == found[1]


def test_six_steps_in_float32_sample_the_same(tmp_path):
    ours, theirs = (
        trained(kind, tmp_path / kind.__name__, policy(torch.float32), max_steps=6)
        for kind in (Shared, GRPOTrainer)
    )
    assert ours[0] == theirs[0]
    assert distance(theirs[2].values(), ours[2].values()) < 1e-3


def test_a_prompt_is_forwarded_once_for_its_group(tmp_path):
    """Counted, so that an upgrade of a library cannot end it without a word."""
    trainer = trainer_of(Shared, tmp_path, policy(torch.float32), max_steps=1)
    counted = forwarded(trainer.model.get_base_model())
    trainer.train()
    prompt = max(tokens for _, tokens in counted)  # the longest, without its last token
    reads = [shape for shape in counted if shape[1] == prompt]
    assert reads == [(2, prompt)] * 2  # to generate, and to train, of 8 completions
    others = [shape for shape in counted if shape[1] != prompt]
    assert all(rows == 8 and tokens <= 13 for rows, tokens in others)


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        ("t5", {"d_model": 32, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8,
                "vocab_size": 97}, "encoder"),
        ("mamba", {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 97}, "other things"),
        ("gpt2", {**GPT2, **NO_DROPOUT, "resid_pdrop": 0.1}, "dropout"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_named(name, shape, why):
    from transformers import AutoModelForSeq2SeqLM

    kind = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
    model = kind.from_config(AutoConfig.for_model(name, **shape)).train()
    assert why in obstacle(model)


def test_a_model_in_a_wrapper_is_not_shared():
    model = torch.nn.DataParallel(policy(torch.float32))
    assert obstacle(model) == "the model is wrapped (DataParallel)"
