"""Loading with transformers and PEFT: the whole of PEFT's LoRA, 4 bit, adapters, local files."""

import json

import pytest
import torch
from conftest import run_medgrpo

from medgrpo.errors import UserError
from medgrpo.model.base import TINY
from medgrpo.model.huggingface import HuggingFaceModel
from medgrpo.model.lora import LoRA
from medgrpo.model.memory import Shape


def tiny(**more) -> HuggingFaceModel:
    return HuggingFaceModel(name_or_path="medgrpo/tiny", device="cpu", threads=1, **more)


def trained(model) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_lora_as_the_config_says_it():
    lora = LoRA(
        r=4,
        alpha=16,
        dropout=0.1,
        target_modules=["q_proj", "down_proj"],
        use_rslora=True,
        use_dora=True,
        bias="lora_only",
        modules_to_save=["norm"],
    )
    model = tiny().load(lora).model
    layer = model.base_model.model.model.layers[0]
    assert layer.self_attn.q_proj.lora_A["default"].out_features == 4
    assert layer.self_attn.q_proj.scaling["default"] == 16 / 4**0.5
    assert layer.self_attn.q_proj.lora_dropout["default"].p == 0.1
    assert "default" in layer.self_attn.q_proj.lora_magnitude_vector
    assert not hasattr(layer.self_attn.k_proj, "lora_A")
    assert any(
        name.endswith("model.norm.modules_to_save.default.weight") for name in trained(model)
    )


def test_all_linear_and_counts():
    """Every projection has an adapter, the output has none; the memory formula counts the same."""
    model = tiny().load(LoRA(r=4, target_modules="all-linear")).model
    parameters = dict(model.named_parameters())
    adapter = sum(p.numel() for name, p in parameters.items() if "lora_" in name)
    base = sum(p.numel() for n, p in parameters.items() if "lora_" not in n and "norm" not in n)
    shape = Shape.of(json.loads((TINY / "config.json").read_text()))
    assert (shape.parameters, shape.adapter(4)) == (base, adapter)
    assert not any("lm_head" in name for name in trained(model))


def test_an_adapters_config_is_the_same_in_every_process(tmp_path):
    """PEFT holds the modules in a set, whose order differs from one process to the next."""
    tiny().load(LoRA(r=2, target_modules="all-linear")).model.save_pretrained(tmp_path)
    modules = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert len(modules) == 7
    assert modules == sorted(modules)


def test_without_lora_everything_is_trained():
    model = tiny().load(None).model
    assert trained(model) == {name for name, _ in model.named_parameters()}


def test_four_bit_weights_with_a_trainable_adapter():
    model = tiny(load_in_4bit=True).load(LoRA(r=4)).model
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert type(layer.base_layer).__name__ == "Linear4bit"
    assert layer.base_layer.weight.quant_type == "nf4"
    assert all("lora_" in name for name in trained(model))
    with torch.no_grad():  # on any CPU, also one for which bitsandbytes packs weights anew
        logits = model.eval()(torch.tensor([[1, 2, 3]])).logits
    model.train()(torch.tensor([[1, 2, 3]])).logits.sum().backward()
    assert logits.isfinite().all()


@pytest.mark.parametrize("place", ["adapter", "."])
def test_an_adapter_is_continued_from_its_run_or_its_folder(tmp_path, place):
    model = tiny().load(LoRA(r=4)).model
    first = next(p for name, p in model.named_parameters() if "lora_B" in name)
    torch.nn.init.ones_(first)
    model.save_pretrained(tmp_path / place)
    again = tiny(adapter=str(tmp_path)).load(LoRA(r=64)).model
    assert again.peft_config["default"].r == 4
    assert next(p for n, p in again.named_parameters() if "lora_B" in n).eq(1).all()
    assert trained(again) == trained(model)
    assert not trained(tiny(adapter=str(tmp_path)).load(None).model)


def test_no_adapter_goes_to_the_image_tower(tmp_path):
    """Gemma 3 by its architecture, a few thousand parameters of it."""
    from transformers import AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration

    text = {
        "vocab_size": 2304,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(tmp_path)
    gemma = HuggingFaceModel(name_or_path=str(tmp_path), device="cpu")
    names = trained(gemma.load(LoRA(r=2, target_modules=["q_proj", "v_proj"])).model)
    assert names
    assert not any("vision" in name for name in names)
    shape = Shape.of(json.loads((tmp_path / "config.json").read_text()))
    assert (shape.layers, shape.width, shape.vocabulary) == (1, 16, 2304)


@pytest.mark.parametrize("content", [None, b"", b"GGUF", b"no model at all"])
def test_a_gguf_file_that_is_none(tmp_path, content, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.name_or_path"):
        HuggingFaceModel(name_or_path=str(file), device="cpu").load(None)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "weights.gguf"])
def test_a_missing_path_is_said_before_anything_runs(tmp_path, name):
    done = run_medgrpo(tmp_path, "model=local", f"model.name_or_path={name}")
    assert done.returncode == 2
    assert f"there is no folder or GGUF file {name}" in done.stderr


def test_local_needs_a_path(tmp_path):
    done = run_medgrpo(tmp_path, "model=local")
    assert done.returncode == 2
    assert "model.name_or_path" in done.stderr
