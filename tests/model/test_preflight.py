"""Preflight: everything that is missing, at once, before anything is loaded."""

import json
import shutil
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import huggingface_hub
import pytest
from conftest import ROOT, run_medgrpo

from medgrpo.errors import UserError
from medgrpo.model import preflight as room
from medgrpo.model.huggingface import HuggingFaceModel
from medgrpo.model.lora import LoRA
from medgrpo.model.memory import GB, MemoryWorkload, Shape, estimate
from medgrpo.model.unsloth_loader import UnslothModel

LLAMA_3B = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_attention_heads": 24,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}
RECIPE = MemoryWorkload(sequence=1024, completion=512, batch=1, answers=32, checkpointing=True)
NO_HUB = "http://127.0.0.1:9"  # nothing listens there
ANSWERS = {  # of the hub: path -> (status, error code)
    "good/model": (200, None),
    "gated/model": (403, "GatedRepo"),
    "no/model": (404, "RepoNotFound"),
    "bare/model": (200, None),  # has no config.json
}


class Hub(BaseHTTPRequestHandler):
    """The three requests that preflight makes of the hub, answered by the repository's name."""

    def do_GET(self):
        repository = "/".join(self.path.strip("/").removeprefix("api/models/").split("/")[:2])
        status, code = ANSWERS[repository]
        if repository == "bare/model" and self.path.endswith("config.json"):
            status, code = 404, "EntryNotFound"
        if self.path.endswith("config.json"):
            body = json.dumps(LLAMA_3B).encode()
        else:
            body = json.dumps({"id": repository, "siblings": []}).encode()
            if code == "GatedRepo" and not self.path.endswith("auth-check"):
                status = 200  # what a gated repository is called is public
        self.send_response(status)
        if status != 200:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", "1" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine, and an empty cache: `hub(URL)` makes another one of it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()

    def at(url: str) -> None:
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    at(f"http://127.0.0.1:{server.server_port}")
    yield at
    server.shutdown()
    huggingface_hub.close_session()


@pytest.fixture
def gpu(monkeypatch):
    """A machine with so many bytes of GPU memory free."""
    monkeypatch.setattr(room, "_sees_gpu", lambda: True)
    monkeypatch.setattr(room, "version", lambda name: "2.13.0" if name == "torch" else "1")
    monkeypatch.setattr(room, "requires", lambda name: [])

    def free(memory: float) -> None:
        monkeypatch.setattr(room, "_free_gpu", lambda: memory)

    free(80 * GB)
    return free


def check(model, tmp_path, lora=None, loads=(RECIPE,), dataset_id=None) -> list[str]:
    """The problems that preflight reports."""
    try:
        room.preflight(model, lora, loads, tmp_path, dataset_id)
    except UserError as error:
        return str(error).split("\n  ")[1:]
    return []


def folder(tmp_path: Path, config: dict) -> str:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return str(tmp_path)


def cuda(name: str, **more) -> HuggingFaceModel:
    return HuggingFaceModel(name_or_path=name, device="cuda", **more)


# The true command


def test_the_recipe_without_a_gpu_says_all_at_once(tmp_path):
    """No dataset is asked for, no judge, and nothing heavy is imported before the answer."""
    env = {"HF_ENDPOINT": NO_HUB, "PYTHONPROFILEIMPORTTIME": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = run_medgrpo(tmp_path, "experiment=medqa_grpo", **env)
    assert done.returncode == 2
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "medgrpo.model.preflight" in imported
    assert not {"torch", "transformers", "datasets", "deepeval"} & imported
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time")]
    text = "\n".join(said)
    assert "model.device: cuda was asked for, but no CUDA GPU is seen" in text
    assert "model.name_or_path: http://127.0.0.1:9 cannot be asked" in text
    assert "OPENAI_API_KEY" not in text
    assert "Traceback" not in text


def test_a_hub_id_without_network_fails_at_once(tmp_path):
    done = run_medgrpo(tmp_path, "model=smollm2_135m", HF_ENDPOINT=NO_HUB)
    assert done.returncode == 2
    assert "cannot be asked for HuggingFaceTB/SmolLM2-135M-Instruct" in done.stderr
    assert "model.name_or_path=FOLDER" in done.stderr
    assert "Retrying" not in done.stderr


# Device and libraries


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_no_gpu_is_seen_here():
    assert not room._sees_gpu()


def test_a_torch_without_cuda_is_named(tmp_path, gpu, monkeypatch):
    monkeypatch.setattr(room, "version", lambda name: "2.13.0+cpu")
    assert any("is a build for the CPU" in p for p in check(cuda("medgrpo/tiny"), tmp_path))


def test_versions_that_the_loader_does_not_take_are_named(tmp_path, monkeypatch):
    needs = ["trl<=1.15.0", "peft>=0.18", "datasets<1; extra == 'old'", "not_installed>3"]
    monkeypatch.setattr(room, "requires", lambda name: needs)
    versions = {"trl": "1.16.0", "peft": "0.21.2", "datasets": "4.8"}

    def version(name):
        if name not in versions:
            raise room.PackageNotFoundError
        return versions[name]

    monkeypatch.setattr(room, "version", version)
    model = UnslothModel(name_or_path="medgrpo/tiny", device="cpu")
    assert check(model, tmp_path) == [
        "trl: 1.16.0 is installed, unsloth needs <=1.15.0; pip install 'trl<=1.15.0'"
    ]


def test_what_the_loader_cannot_do_is_said_before_loading(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "requires", lambda name: [])
    model = UnslothModel(name_or_path="medgrpo/tiny", device="cpu")
    problems = check(model, tmp_path, LoRA(modules_to_save=["mlp"]))
    assert [p.partition(":")[0] for p in problems] == ["lora.modules_to_save"]


# Memory and disk


def test_weights_that_do_not_fit_are_refused(tmp_path, gpu):
    gpu(2 * GB)
    (problem,) = check(cuda(folder(tmp_path, LLAMA_3B), load_in_4bit=True), tmp_path, LoRA())
    assert "7.7 GB by estimate, 2.0 GB are free (cuda)" in problem


def test_what_may_not_fit_is_a_warning(tmp_path, gpu, caplog):
    gpu(6 * GB)
    assert check(cuda(folder(tmp_path, LLAMA_3B), load_in_4bit=True), tmp_path, LoRA()) == []
    assert "may need 7.7 GB" in caplog.text


def test_the_hungriest_part_of_a_run_counts(tmp_path, gpu):
    gpu(2 * GB)
    model = cuda(folder(tmp_path, LLAMA_3B), load_in_4bit=True)
    evaluated = replace(RECIPE, batch=0, answers=1)
    for loads in ([evaluated, RECIPE], [RECIPE, evaluated]):
        (problem,) = check(model, tmp_path, LoRA(), loads)
        assert "7.7 GB by estimate" in problem


def test_what_fits_a_gpu_is_said_and_no_warning(tmp_path, gpu, caplog):
    caplog.set_level("INFO", room.log.name)
    assert check(cuda(folder(tmp_path, LLAMA_3B), load_in_4bit=True), tmp_path, LoRA()) == []
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage() == "memory: 7.7 GB by estimate, 80.0 GB are free (cuda)"


def test_an_architecture_that_we_cannot_read_is_not_refused(tmp_path, gpu):
    assert check(cuda(folder(tmp_path, {"model_type": "mamba"})), tmp_path) == []


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=0.1 * GB))
    model = HuggingFaceModel(name_or_path="medgrpo/tiny", device="cpu")
    (problem,) = check(model, tmp_path / "runs" / "new")
    assert problem.startswith("disk: ")
    assert "needs 0.2 GB, 0.1 GB are free" in problem


def test_merging_wants_the_base_in_float32(tmp_path, gpu, caplog, monkeypatch):
    caplog.set_level("INFO")
    model = cuda(folder(tmp_path, LLAMA_3B))
    assert merging(model, tmp_path / "run") == []
    assert "merging will take 12.9 GB of memory and write 6.4 GB" in caplog.text
    small = SimpleNamespace(total=8 * GB, available=8 * GB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: small)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=6 * GB))
    memory, disk = merging(model, tmp_path / "run")
    assert memory.startswith("export.merged: merging takes 12.9 GB of memory")
    assert "needs 6.6 GB, 6.0 GB are free" in disk


def merging(model, folder):
    try:
        room.preflight(model, LoRA(r=8, alpha=8), [RECIPE], folder, None, merged=True)
    except UserError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


# The hub


def test_a_model_on_the_hub_is_measured_by_its_config(tmp_path, gpu, hub):
    gpu(2 * GB)
    (problem,) = check(cuda("good/model", load_in_4bit=True), tmp_path, LoRA())
    assert "7.7 GB by estimate" in problem


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gated/model", "is gated; accept its terms at"),
        ("no/model", "is not on the hub"),
        ("no such folder/at all/here", "is no folder here and no hub id"),
    ],
)
def test_a_model_that_the_hub_does_not_give(tmp_path, hub, name, said):
    (problem,) = check(HuggingFaceModel(name_or_path=name, device="cpu"), tmp_path)
    assert problem.startswith(f"model.name_or_path: {name} {said}")


def test_a_repository_without_a_config_is_left_to_the_loader(tmp_path, hub):
    assert check(HuggingFaceModel(name_or_path="bare/model", device="cpu"), tmp_path) == []


def test_a_model_in_the_cache_needs_no_network(tmp_path, gpu, hub):
    snapshot = tmp_path / "cache" / "models--good--model" / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA_3B))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("1" * 40)
    hub(NO_HUB)
    (problem,) = check(cuda("good/model"), tmp_path, LoRA())
    assert "cannot be asked" in problem  # there is no weight yet
    (snapshot / "model.safetensors").touch()
    assert check(cuda("good/model"), tmp_path, LoRA()) == []


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_config_that_is_none_is_left_to_the_loader(tmp_path, gpu, content):
    (tmp_path / "config.json").write_text(content)
    assert check(cuda(str(tmp_path)), tmp_path) == []


def test_data_of_the_hub_without_network(tmp_path, hub):
    hub(NO_HUB)
    model = HuggingFaceModel(name_or_path="medgrpo/tiny", device="cpu")
    (problem,) = check(model, tmp_path, dataset_id="good/data")
    assert problem.startswith("dataset.dataset_id: ")
    assert "dataset.source=path" in problem
    (tmp_path / "cache" / "datasets--good--data").mkdir(parents=True)
    assert check(model, tmp_path, dataset_id="good/data") == []


# The formula


def test_parameters_are_those_of_the_model():
    """As Meta states for Llama 3.2 3B, and as PEFT counts its rank 8."""
    shape = Shape.of(LLAMA_3B)
    assert round(shape.parameters / 1e9, 2) == 3.21
    assert shape.adapter(8) == 12_156_928


def test_a_run_of_trls_arguments():
    args = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "max_completion_length": 100,
        "gradient_checkpointing": False,
    }
    assert MemoryWorkload.of(args, prompt=50, answer=30, answers=3) == MemoryWorkload(
        150, 100, 2, 8, False
    )
    assert MemoryWorkload.of(
        {"max_length": 400}, prompt=50, answer=30, answers=3
    ) == MemoryWorkload(400, 400, 0, 3, True)
    assert MemoryWorkload.of({}, prompt=50, answer=30, answers=3) == MemoryWorkload(
        80, 30, 0, 3, True
    )


SHIPPED = {  # hidden, inner, heads, layers, key and value heads, size of a head, vocabulary
    "llama3_2_3b": (3072, 8192, 24, 28, 8, 128, 128256),
    "qwen3_4b": (2560, 9728, 32, 36, 8, 128, 151936),
    "gemma3_4b": (2560, 10240, 8, 34, 4, 256, 262208),
    "smollm2_135m": (576, 1536, 9, 30, 3, 64, 49152),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_documented_memory_is_the_formulas(name):
    values = zip(LLAMA_3B, SHIPPED[name], strict=False)
    shape = Shape.of({**dict(values), "tie_word_embeddings": True})
    figures = [f"{shape.parameters / 1e9:.2f} B"]
    for four_bit in (True, False):
        model = cuda("any", load_in_4bit=four_bit)
        figures += [f"{value / GB:.1f} GB" for value in estimate(shape, model, LoRA(), RECIPE)]
    table = (ROOT / "docs" / "recipes.md").read_text()
    assert f"| `{name}` | {' | '.join(figures)} |" in table
