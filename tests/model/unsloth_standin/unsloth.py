"""Stands in for Unsloth where there is no GPU: records how it is called, loads with PEFT."""

import json
import os
import sys
from pathlib import Path

CALLS = Path(os.environ["UNSLOTH_CALLS"])
LATE = sorted({"transformers", "trl", "peft"} & sys.modules.keys())


def record(call, **arguments):
    with CALLS.open("a") as file:
        file.write(json.dumps({"call": call, **arguments}, default=str) + "\n")


told = {name: value for name, value in os.environ.items() if name.startswith("UNSLOTH_")}
record("import", imported_before=LATE, told=told)


class FastLanguageModel:
    @staticmethod
    def from_pretrained(**arguments):
        from peft import AutoPeftModelForCausalLM
        from transformers import AutoModelForCausalLM, AutoTokenizer

        record("from_pretrained", **arguments)
        path = arguments["model_name"]
        is_adapter = Path(path, "adapter_config.json").exists()
        loader = AutoPeftModelForCausalLM if is_adapter else AutoModelForCausalLM
        more = {"is_trainable": True} if is_adapter else {}
        return loader.from_pretrained(path, **more), AutoTokenizer.from_pretrained(path)

    @staticmethod
    def get_peft_model(model, *, use_gradient_checkpointing, random_state, **arguments):
        from peft import LoraConfig, get_peft_model

        unsloths_own = {
            "use_gradient_checkpointing": use_gradient_checkpointing,
            "random_state": random_state,
        }
        record("get_peft_model", **arguments, **unsloths_own)
        return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **arguments))
