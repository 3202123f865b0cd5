"""One run in several processes, on one machine or two: the same figures as in one (slow).

All ranks are on this machine's CPU (gloo), and two "nodes" are two commands.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT, run_medgrpo, same_results, start
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

SMALL = ["evaluation.limit=8", "tracking=local", "trainer.args.lr_scheduler_type=constant"]
SFT = ["trainer=sft", "dataset=medqa_cot", "dataset.limit=48", *SMALL,
       "trainer.args.num_train_epochs=1"]  # fmt: skip
GRPO = ["rewards=[formats,verifiable]", "trainer.args.save_steps=1",
        "trainer.args.num_generations=2", *SMALL]  # fmt: skip
THREE = "trainer.args.max_steps=3"
ALONE = "trainer.share_prompts=off"
WRITTEN = '''
"""GRPO on completions that depend on nothing but the prompt and the place in its group."""

from medgrpo.trainer.grpo import GRPO

TEXTS = ["<reasoning>\\na\\n</reasoning>\\n<answer>\\nA\\n</answer>", "the answer is B", "C", "no"]


class Written(GRPO):
    @property
    def trainer_class(self):
        class Trainer(super().trainer_class):
            def _generate_single_turn(self, prompt_ids, *args, **kwargs):
                tokenizer = self.processing_class
                first = self.accelerator.process_index * len(prompt_ids)
                places = [(first + row) % self.num_generations for row in range(len(prompt_ids))]
                texts = [TEXTS[(sum(ids) + k) % 4] for ids, k in zip(prompt_ids, places)]
                end = [tokenizer.eos_token_id]
                return [tokenizer(t, add_special_tokens=False).input_ids + end for t in texts], None

        return Trainer
'''
SHARED = ["dataset=pubmedqa", "rewards=[formats,verifiable]", "evaluation=none", "tracking=local",
          "trainer.args.max_steps=4", "trainer.args.num_generations=4",
          "trainer.args.per_device_train_batch_size=4", "trainer.validation_rows=0",
          "trainer.args.gradient_accumulation_steps=2"]  # fmt: skip
RANKS = {"single": 16, "ddp": 8, "fsdp": 8}  # completions or rows a process


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made("name", *overrides)`: the folder of a finished run, made once."""
    root = tmp_path_factory.mktemp("launched")
    (root / "own").mkdir()
    (root / "own" / "own.py").write_text(WRITTEN)

    @cache
    def make(name: str, *overrides: str, **env: str) -> Path:
        path = f"{root / 'own'}:{ROOT}"
        done = run_medgrpo(root, *overrides, f"output_dir={name}", PYTHONPATH=path, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return root / name

    return make


def steps(run: Path) -> list[dict]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if "loss" in row]


def furthest(one: Path, other: Path) -> float:
    """The largest difference between weights of two adapters."""
    a, b = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (one, other))
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("launch", ["ddp", "fsdp"])
@pytest.mark.parametrize("what", ["sft", "grpo"])
def test_two_processes_train_what_one_trains_on_the_same_batch(made, what, launch):
    """SFT draws nothing at random but the order of rows, which is that of one process.

    Of GRPO the completions are written here, for sampled ones come from each process's own random
    numbers. Prompts are not shared: one process and DDP may, shards do not, and that is rounding of
    its own (tests/trainer/test_sharing.py). What is left is the order of sums.
    """
    own = ["trainer._target_=own.Written", "trusted_targets=[own]"]
    settings = SFT if what == "sft" else [*GRPO, THREE, *own, "trainer.args.temperature=1.0", ALONE]

    def run(launch: str) -> Path:
        batch = f"trainer.args.per_device_train_batch_size={RANKS[launch]}"
        return made(f"{what}-{launch}", *settings, batch, f"launch={launch}")

    one, two = run("single"), run(launch)
    assert len(steps(one)) == len(steps(two)) > 0
    for ours, theirs in zip(steps(one), steps(two), strict=True):
        for name in ("loss", "grad_norm"):
            assert theirs[name] == pytest.approx(ours[name], rel=1e-5, abs=1e-8)
        if what == "grpo":
            assert ours["grad_norm"] > 0.01
            assert theirs["reward"] == pytest.approx(ours["reward"])
    assert furthest(one, two) < 5e-5


SAMPLED = [*GRPO, THREE, "trainer.args.per_device_train_batch_size=2"]
SHORT = [key for key in SAMPLED if key != THREE]


def test_shards_sample_and_train_as_copies_do(made):
    """Sampled completions, and of different lengths in each process."""
    copies, shards = (made(f"alone-{kind}", *SAMPLED, ALONE, f"launch={kind}") for kind in RANKS if
                      kind != "single")  # fmt: skip
    for ours, theirs in zip(steps(copies), steps(shards), strict=True):
        assert theirs["completions/mean_length"] == ours["completions/mean_length"]
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5, abs=1e-8)
    assert furthest(copies, shards) < 5e-5


def test_a_run_in_shards_is_resumed_to_the_bit(made, tmp_path):
    whole = made("sampled-fsdp", *SAMPLED, "launch=fsdp")
    part = [*SHORT, "launch=fsdp", "trainer.args.max_steps=2", "output_dir=part"]
    for command in (part, ["resume=part", THREE]):
        done = run_medgrpo(tmp_path, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert same_results(whole, tmp_path / "part")


@pytest.mark.parametrize("lora", ["default", "none"])
def test_what_was_trained_in_shards_is_merged_and_read_by_one(made, lora):
    rate = ["lora=none", "trainer.args.learning_rate=1e-6"] if lora == "none" else []
    run = made(f"merged-{lora}", *SAMPLED, *rate, "launch=fsdp", "export=merged_16bit")
    assert json.loads((run / "parity.json").read_text())["rows"] == 8
    way = "model.name_or_path={}/adapter lora=none" if lora == "none" else "model.adapter={}"
    read = made(f"read-{lora}", "trainer=none", *way.format(run).split(), *SMALL[:2])
    after, again = (json.loads((place / "evaluation.json").read_text()) for place in (run, read))
    assert again["after"]["accuracy"] == after["after"]["accuracy"]
    assert again["after"]["mean_tokens"] == after["after"]["mean_tokens"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_machines_are_two_processes(made, tmp_path):
    """The second comes first, and finds no folder; it leaves no trace but the first one's run."""
    both = made("sampled-ddp", *SAMPLED, "launch=ddp")
    nodes = ["launch.nodes=2", f"launch.rendezvous=127.0.0.1:{free_port()}", "output_dir=run"]
    second = start(tmp_path, *SAMPLED, *nodes, NODE_RANK="1")
    done = run_medgrpo(tmp_path, *SAMPLED, *nodes)
    out, _ = second.communicate(timeout=60)
    assert (done.returncode, second.returncode) == (0, 0), done.stderr + out
    assert same_results(both, tmp_path / "run")
    assert "step 3/3" in done.stdout
    assert "step" not in out


def test_a_machine_whose_others_fail_ends_too(tmp_path):
    (tmp_path / "empty").mkdir()
    nodes = ["launch.nodes=2", f"launch.rendezvous=127.0.0.1:{free_port()}", "output_dir=run"]
    command = [*SAMPLED, *nodes, "model.name_or_path=./empty"]
    second = start(tmp_path, *command, NODE_RANK="1")
    done = run_medgrpo(tmp_path, *command)
    out, _ = second.communicate(timeout=120)
    assert (done.returncode, second.returncode) == (2, 1)
    assert "\nmedgrpo: model.name_or_path: " in done.stderr
    assert "node 1: the run's processes ended with exit code 1" in out


class Hub(BaseHTTPRequestHandler):
    """Knows nobody, and notes what was asked for."""

    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_error(401)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[HTTPServer]:
    Hub.asked = []
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_one_of_several_processes_uploads(hub, tmp_path):
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_TOKEN": "hf_mine"}
    short = [*SHORT, "trainer.args.max_steps=1", "launch=ddp", "export.push_to=me/model"]
    done = run_medgrpo(tmp_path, *short, "output_dir=run", **place, HF_HUB_OFFLINE="0")
    assert done.returncode != 0
    assert Hub.asked == ["/api/repos/create"], done.stderr
    assert "hf_mine" not in done.stdout + done.stderr
    assert os.path.exists(tmp_path / "run" / "adapter" / "adapter_model.safetensors")


def test_the_bill_is_that_of_all_processes(tmp_path):
    """Of training each process asks for its part, and of held-out answers the first alone."""
    done = run_medgrpo(
        tmp_path, *GRPO[1:], THREE, "rewards=[judges]", "launch=ddp", "evaluation.reward_rows=2",
        "trainer.args.per_device_train_batch_size=2", "trainer.validation_rows=0",
        "trainer.args.logging_steps=1", "output_dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    bill = json.loads((tmp_path / "run" / "summary.json").read_text())["judge"]
    steps = map(json.loads, (tmp_path / "run" / "telemetry.jsonl").read_text().splitlines())
    asked = [row["judge/evidently_correctness/verdicts"] for row in steps
             if "judge/evidently_correctness/verdicts" in row]  # fmt: skip
    held_out = 2 * 2  # rows, before and after; repeated answers are asked for once
    assert sum(asked) < bill["evidently_correctness"]["verdicts"] <= sum(asked) + held_out


def test_two_ranks_read_a_prompt_once_for_its_group(tmp_path):
    """Under DDP, too: the same completions, and the same weights but for rounding."""
    weights, sampled = [], []
    for share in ("auto", "off"):
        run = tmp_path / share
        done = run_medgrpo(tmp_path, *SHARED, "launch=ddp", "launch.nproc_per_node=2",
                           f"trainer.share_prompts={share}", f"output_dir={run}")  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        line = "each prompt is read once for its group"
        assert (line in done.stdout) == (share == "auto")
        weights.append(load_file(run / "adapter" / "adapter_model.safetensors"))
        files = sorted((run / "completions").glob("*.parquet"))
        sampled.append([pd.read_parquet(file)["completion"].tolist() for file in files])
    assert sampled[0] == sampled[1]
    assert len(sampled[0]) == 4
    ours, theirs = (torch.cat([w.flatten() for w in one.values()]) for one in weights)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
