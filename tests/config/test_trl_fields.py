"""The table of TRL's fields says what the installed TRL says, and what people set is bounded."""

import inspect
import json
from typing import get_args

import pytest
from pydantic import ConfigDict, TypeAdapter
from trl import GRPOConfig, GRPOTrainer, SFTConfig

from medgrpo.config import trl_fields
from medgrpo.config.trl_fields import (
    CHOICES,
    RANGES,
    defaults_of,
    describe,
    table_file,
    types_of,
)
from medgrpo.trainer.grpo import GRPO
from medgrpo.trainer.sft import SFT

CONFIGS = [GRPOConfig, SFTConfig]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_table_is_that_of_the_installed_trl(config):
    """Out of date? python -m medgrpo.config.trl_fields"""
    assert json.loads(table_file().read_text())[config.__name__] == describe(config)


@pytest.mark.parametrize(
    ("installed", "table"),
    [("1.14.2", "1.14"), ("1.15.0", "1.14"), ("1.16.3", "1.16"), ("2.0", "1.16"), ("1.9", "1.14")],
)
def test_the_table_is_that_of_the_version(monkeypatch, installed, table):
    monkeypatch.setattr(trl_fields, "version", lambda name: installed)
    assert table_file().name == f"trl_fields_{table}.json"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_default_passes(config):
    types, defaults = types_of(config.__name__), defaults_of(config.__name__)
    strict = ConfigDict(strict=True)
    for name, default in defaults.items():
        if default is not None:
            TypeAdapter(types[name], config=strict).validate_python(default)


def test_ranges_and_choices_are_about_fields_that_exist():
    known = types_of("GRPOConfig").keys() | types_of("SFTConfig").keys()
    assert known >= RANGES.keys() | CHOICES.keys()


@pytest.mark.parametrize("name", CHOICES)
def test_trl_tells_the_choices_apart(name):
    """Each choice but one is compared with in the trainer; the last may be its `else`."""
    source = inspect.getsource(inspect.getmodule(GRPOTrainer))
    choices = get_args(CHOICES[name])
    assert sum(f'"{choice}"' in source for choice in choices) == len(choices)


@pytest.mark.parametrize("trainer", [GRPO, SFT])
def test_managed_fields_exist_and_say_what_to_set(trainer):
    assert trainer.managed.keys() <= types_of(trainer.config_class).keys()
    assert {"output_dir", "seed", "report_to", "resume_from_checkpoint"} <= trainer.managed.keys()
    assert all(len(advice.split()) > 1 for advice in trainer.managed.values())


def test_the_trl_config_takes_what_the_command_line_takes(tmp_path):
    """Fields that no YAML lists arrive in GRPOConfig as they are typed."""
    typed = {"top_p": 0.9, "scale_rewards": "none", "lr_scheduler_type": "cosine"}
    types = types_of("GRPOConfig")
    for name, value in typed.items():
        TypeAdapter(types[name]).validate_python(value)
    config = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **typed)
    assert (config.top_p, config.scale_rewards) == (0.9, "none")
