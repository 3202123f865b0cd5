"""The command line as a user meets it: what is typed wrong costs nothing and says what to do."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ROOT

GLOBAL = "# @package _global_\n"
REWARDS = "# @package rewards\n"
TAGS = "_target_: medgrpo.rewards.formats.ReasoningTagsReward"


@dataclass
class Bad:
    """A command to be refused, and what its message must hold: the key, and what helps."""

    argv: list[str]
    says: list[str]
    files: dict[str, str] = field(default_factory=dict)


def bad(command: str, *says: str, **files: str) -> Bad:
    """`command` is split at blanks; the files' names have `__` for `/`, and end in .yaml."""
    named = {f"own/{name.replace('__', '/')}.yaml": text for name, text in files.items()}
    return Bad(command.split(), list(says), named)


UNKNOWN_KEYS = [
    bad("lora.rr=8", "lora.rr", "did you mean lora.r?"),
    bad("+lora.rr=8", "lora.rr", "did you mean lora.r?"),
    bad("++lora.rr=8", "lora.rr", "did you mean lora.r?"),
    bad("sed=1", "sed (command line)", "did you mean seed?"),
    bad("++sed=1", "sed (command line)", "did you mean seed?"),
    bad("+new.key=1", "new (command line)", "no such key"),
    bad("modle=tiny", "modle", "did you mean model?"),
    bad("profile.grop.max_steps=3", "profile.grop", "did you mean profile.grpo?"),
    bad("+profile.grpo.beta=0.1", "profile.grpo.beta", "learning_rate"),
    bad("trainer.args.learning_rat=1", "trainer.args.learning_rat", "learning_rate?"),
    bad("+trainer.args.lerning_rate=1", "trainer.args.lerning_rate", "learning_rate?"),
    bad("trainer.epochs=1", "trainer.epochs", "args"),
    bad("trainer=none trainer.args.max_stepps=1", "trainer.args.max_stepps", "max_steps?"),
    bad("rewards.response_format.wieght=2", "rewards.response_format.wieght", "weight?"),
    bad("+rewards.mine.weight=2", "rewards.mine", "_target_"),
    bad("~lora.rank", "lora.rank", "no such key"),
    bad("~rewards.respons_format", "did you mean rewards.response_format?"),
    bad("hydra.run.dirr=x", "hydra.run.dirr", "did you mean hydra.run.dir?"),
]
WRONG_VALUES = [
    bad("lora.r=eight", "lora.r", "valid integer"),
    bad("lora.r=1.5", "lora.r", "valid integer"),
    bad("lora.r=true", "lora.r", "valid integer"),
    bad("lora.r=", "lora.r", "valid integer"),
    bad("lora.alpha=0", "lora.alpha", "greater than or equal to 1"),
    bad("lora.dropout=1", "lora.dropout", "less than 1"),
    bad("seed=-1", "seed", "greater than or equal to 0"),
    bad("seed=4294967296", "seed", "less than 4294967296"),
    bad("seed=null", "seed", "valid integer"),
    bad("hydra.verbose=3.5", "hydra.verbose", "true, false"),
    bad("dataset.source=hbu", "dataset.source", "'sample', 'path' or 'hub'"),
    bad("dataset.limit=0", "dataset.limit", "greater than or equal to 1"),
    bad("model.dtype=fp16", "model.dtype", "'float16' or null"),
    bad("tracking.mode=of", "tracking.mode", "'disabled'"),
    bad("tracking.name=3", "tracking.name", "valid string"),
    bad("evaluation.split=train", "evaluation.split", "'test' or 'validation'"),
    bad("lora.target_modules=[q_proj,3]", "lora.target_modules", "at item 1"),
    bad("rewards.response_format.weight=heavy", "rewards.response_format.weight", "number"),
    bad("rewards.response_format.weight=nan", "rewards.response_format.weight", "finite"),
    bad("rewards.response_format.name=x", "rewards.response_format.name", "key"),
    bad("+metrics.accuracy.name=x", "metrics.accuracy.name", "key"),
    bad("trainer.args.learning_rate=0", "trainer.args.learning_rate", "greater than 0"),
    bad("trainer.args.max_completion_length=0", "trainer.args.max_completion_length", "1"),
    bad("trainer.args.loss_type=gpro", "trainer.args.loss_type", "'dr_grpo'"),
    bad("trainer.args.bf16=true", "trainer.args.bf16", "use model.dtype"),
    bad("prompt.user='{{question'", "prompt.user", "template"),
    bad("prompt.user='{{qestion}}'", "prompt.user", "not qestion"),
    bad("seed=${sed}", "seed", "did you mean seed?"),
    bad("lora.alpha=${lora.rr}", "lora.alpha", "did you mean lora.r?"),
]
TARGETS = [
    bad("model._target_=os.system", "model._target_", "trusted_targets=[os]"),
    bad("+prompt.chat_template_kwargs._target_=os.getcwd", "chat_template_kwargs._target_", "os"),
    bad("lora._target_=medgrpo.model.lora.Lora", "lora._target_", "did you mean", "LoRA?"),
    bad("lora._target_=medgrpo.rundir.os", "lora._target_", "called"),
    bad("lora._target_=medgrpo.nosuch.X", "lora._target_", "cannot import medgrpo.nosuch"),
    bad("trusted_targets=[mine] lora._target_=mine.X", "lora._target_", "cannot import mine"),
]
CONTRADICTIONS = [
    bad("trainer.args.num_generations=7", "trainer.args.num_generations", "2, 4, 8, 16, 32"),
    bad("trainer.args.num_generations=1", "trainer.args.num_generations", "equal to 2"),
    bad("profile.grpo.num_generations=7", "profile.grpo.num_generations, command line"),
    bad(
        "launch.nproc_per_node=3 trainer.args.num_generations=64",
        "trainer.args.num_generations",
        "x 3 processes",
    ),
    bad(
        "launch=ddp launch.nodes=3 launch.rendezvous=a:1 trainer.args.num_generations=128",
        "trainer.args.num_generations",
        "x 6 processes",
    ),
    bad("launch=ddp launch.nodes=2", "launch.rendezvous", "HOST:PORT", "NODE_RANK"),
    bad(
        "trainer=sft trainer.args.metric_for_best_model=eval_score trainer.validation_rows=8 "
        "dataset.primary_metric=consistency evaluation.shuffles=2 metrics=[standard,shuffled]",
        "dataset.primary_metric (command line)",
        "is of evaluation.shuffles",
        "eval_loss",
    ),
    bad("launch=fsdp launch.rendezvous=here", "launch.rendezvous", "HOST:PORT"),
    bad("launch.fsdp=true", "launch.fsdp", "launch.nproc_per_node=2"),
    bad("launch=fsdp model.load_in_4bit=true", "launch.fsdp (conf/launch/fsdp.yaml)", "4-bit"),
    bad("launch=fsdp model=llama3_2_3b", "launch.fsdp", "launch=ddp"),
    bad("launch=ddp +trainer.args.fsdp=true", "trainer.args.fsdp", "use launch=fsdp"),
    bad("-m launch=ddp launch.nodes=2 seed=1,2", "launch.nodes", "hydra/launcher=slurm"),
    bad(
        "trainer.args.steps_per_generation=4 trainer.args.num_iterations=2",
        "trainer.args.save_steps",
        "no multiple of 8",
    ),
    bad(
        "trainer.args.steps_per_generation=2 trainer.args.generation_batch_size=64",
        "trainer.args.generation_batch_size",
        "steps_per_generation",
    ),
    bad("trainer.args.eval_strategy=steps", "trainer.args.eval_strategy", "no evaluation rows"),
    bad("trainer.args.max_steps=0", "trainer.args.max_steps", "trainer=none"),
    bad("trainer.args.auto_find_batch_size=true", "trainer.args.auto_find_batch_size", "TRL"),
    bad("rewards=[]", "rewards", "'rewards=["),
    bad("metrics=[]", "metrics", "'metrics=["),
    bad("dataset.source=path", "dataset.path", "FILE"),
    bad("dataset.source=path dataset.path=no.json", "dataset.path", "no.json"),
    bad("dataset.path=rows.json", "dataset.path", "dataset.source=sample"),
    bad("dataset.primary_metric=list_f2", "dataset.primary_metric", "did you mean list_f1?"),
    bad("suite=[medqaa]", "suite", "medqa"),
    bad("suite=[medqa] evaluation.suite.medqa.batch=3", "evaluation.suite.medqa.batch"),
    bad("suite=[medqa] evaluation.suite.medqa.source=path", "evaluation.suite.medqa.path"),
    bad(
        "suite=[medqa] evaluation.suite.medqa.primary_metric=acuracy",
        "evaluation.suite.medqa.primary_metric",
        "did you mean accuracy?",
    ),
    bad(
        "suite=[mmlu_medical] evaluation.suite.mmlu_medical.source=sample",
        "evaluation.suite.mmlu_medical.source",
        "no sample",
    ),
    bad("suite=[medqa] evaluation.in_domain=[pubmedqa]", "evaluation.in_domain", "Known: medqa"),
    bad("dataset=medmcqa dataset.source=sample", "dataset.source", "no sample"),
    bad("~metrics.accuracy", "dataset.primary_metric (conf/dataset/medqa.yaml)", "accuracy_par"),
    bad("+metrics.recall._target_=medgrpo.metrics.table.Accuracy", "metrics.recall", "another"),
    bad("model.adapter=nowhere", "model.adapter", "nowhere"),
    bad("model.name_or_path=./nowhere", "model.name_or_path", "./nowhere"),
    bad("lora=none lora.r=8", "lora.r", "null"),
]
CHOICES = [
    bad("model=tinny", "model", "did you mean tiny?"),
    bad("model=null", "model", "tiny"),
    bad("rewards=[formats,judgez]", "rewards", "did you mean judges?"),
    bad("experiment=mine", "experiment", "no such choice as mine"),
    bad("+dataset=medqa", "dataset", "dataset=medqa"),
    bad("hydra/launcher=slrm", "hydra/launcher", "basic"),
    bad("~lora", "lora", "missing"),
]
SPELLING = [
    bad("lora.r=[8", "lora.r=[8", "quote"),
    bad("lora", "lora (command line)", "KEY=VALUE"),
    bad("=8", "=8", "KEY=VALUE"),
    bad("lora.r=8,16", "lora.r=8,16", "add -m"),
    bad("lora.r=8 lora.r=16", "lora.r", "more than once"),
    bad("-m lora.r=8,4,8 seed=1", "the same job more than once: lora.r=8 seed=1"),
    bad("-m seed=1,2 hydra.sweep.dir=x/${nope}", "sweep", "'nope' not found"),
    bad("model=tiny model=tiny", "model", "more than once"),
    bad("+lora.r=8", "lora.r", "drop the +"),
    bad("seed=1 --fast", "--fast", "unrecognized"),
    bad("--config-name=mine", "--config-name", "config"),
    bad("--config-path=mine", "--config-path", "--config-dir"),
    bad("resume=nowhere", "resume", "no run folder"),
    bad("output_dir=", "output_dir", "empty"),
    bad("output_dir=/proc/x", "output_dir", "/proc is no folder that can be written to"),
]
FILES = [
    bad("--config-dir nowhere", "--config-dir", "nowhere"),
    bad("--config-dir own dataset=mine", "dataset", "mine", dataset__other="defaults: [medqa]"),
    bad(
        "--config-dir own dataset=mine",
        "dataset.pth (own/dataset/mine.yaml)",
        "did you mean dataset.path?",
        dataset__mine="defaults: [medqa]\npth: x\n",
    ),
    bad(
        "--config-dir own dataset=mine",
        "dataset (dataset/mine.yaml)",
        "did you mean medqa?",
        dataset__mine="defaults: [medq]\n",
    ),
    bad(
        "--config-dir own dataset=mine",
        "own/dataset/mine.yaml",
        "line 2",
        dataset__mine="source: sample\n limit: [\n",
    ),
    bad("--config-dir own", "own/dataset/list.yaml", "list", dataset__list="- a\n"),
    bad("--config-dir own", "own/dataset/medqa.yaml", "shipped", dataset__medqa="limit: 3\n"),
    bad(
        "--config-dir own experiment=mine",
        "lora.rr (own/experiment/mine.yaml)",
        "sed (own/experiment/mine.yaml)",
        experiment__mine=GLOBAL + "lora: {rr: 8}\nsed: 1\n",
    ),
    bad(
        "--config-dir own experiment=mine",
        "experiment (experiment/mine.yaml)",
        "modle",
        experiment__mine=GLOBAL + "defaults:\n  - override /modle: tiny\n",
    ),
    bad(
        "--config-dir own profile=mine",
        "profile.device (own/profile/mine.yaml)",
        "missing",
        profile__mine=GLOBAL + "profile: {name: mine, summary: mine}\n",
    ),
    bad(
        "--config-dir own rewards=[mine]",
        "rewards.mine.wieght (own/rewards/mine.yaml)",
        "did you mean rewards.mine.weight?",
        rewards__mine=REWARDS + f"mine: {{{TAGS}, wieght: 2}}\n",
    ),
    bad(
        "--config-dir own rewards=[mine]",
        "rewads (own/rewards/mine.yaml)",
        "did you mean rewards?",
        rewards__mine=f"# @package rewads\nmine: {{{TAGS}}}\n",
    ),
    bad(
        "--config-dir own trainer=mine",
        "trainer.args.learning_rate (own/trainer/mine.yaml)",
        "number",
        trainer__mine="defaults: [grpo]\nargs: {learning_rate: fast}\n",
    ),
]
BAD = [
    *UNKNOWN_KEYS,
    *WRONG_VALUES,
    *TARGETS,
    *CONTRADICTIONS,
    *CHOICES,
    *SPELLING,
    *FILES,
]


# `python -m medgrpo` for each command that stdin holds, forked when everything has been imported.
FORKING = """
import json, os, sys
import medgrpo.cli, pydantic, medgrpo.rewards.deepeval_judged, medgrpo.trainer.sft
for folder, argv in json.load(sys.stdin):
    if not (child := os.fork()):
        os.chdir(folder)
        os.dup2(os.open(folder + ".out", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(folder + ".err", os.O_WRONLY | os.O_CREAT), 2)
        code = medgrpo.cli.main(argv)
        sys.stdout.flush(), sys.stderr.flush(), os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What became of every bad command: (exit code, stdout, stderr, what was written)."""
    folders = [tmp_path_factory.mktemp("bad") for _ in BAD]
    for folder, case in zip(folders, BAD, strict=True):
        for name, text in case.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    before = [tree(folder) for folder in folders]

    def refused(part: slice) -> list[str]:
        cases = zip(folders[part], BAD[part], strict=True)
        commands = json.dumps([(str(folder), case.argv) for folder, case in cases])
        forking = [sys.executable, "-c", FORKING]
        env = {"PYTHONPATH": str(ROOT)}
        return subprocess.check_output(forking, input=commands, env=env, text=True).split()

    with ThreadPoolExecutor(2) as pool:
        even, odd = pool.map(refused, [slice(0, None, 2), slice(1, None, 2)])
    codes = [(even, odd)[index % 2][index // 2] for index in range(len(BAD))]
    texts = [
        [folder.with_name(folder.name + end).read_text() for end in (".out", ".err")]
        for folder in folders
    ]
    written = [tree(folder) - known for folder, known in zip(folders, before, strict=True)]
    return list(zip(codes, texts, written, strict=True))


@pytest.mark.parametrize("index", range(len(BAD)), ids=lambda i: " ".join(BAD[i].argv))
def test_refused(refusals, index):
    code, (stdout, stderr), written = refusals[index]
    assert code == "2", stderr
    assert all(part in stderr for part in BAD[index].says), stderr
    assert "Traceback" not in stderr
    assert "nothing was started" in stderr
    assert "python -m medgrpo --help" in stderr
    assert stdout == ""
    assert written == set()


@pytest.mark.parametrize(
    ("env", "argv", "says"),
    [
        ({"MEDGRPO_PROFILE": "laptp"}, [], "MEDGRPO_PROFILE=laptp (environment): no such choice"),
        ({"WORLD_SIZE": "3"}, [], "without torchrun: python -m medgrpo launch.nproc_per_node=3"),
        (
            {"NODE_RANK": "second"},
            ["launch=ddp", "launch.nodes=2", "launch.rendezvous=a:1"],
            "NODE_RANK (environment): 'second' should be a number",
        ),
        ({}, ["lora.rr=8"], "lora.rr (command line): no such key; did you mean lora.r?"),
    ],
)
def test_refused_by_the_true_command(medgrpo, tmp_path, env, argv, says):
    done = medgrpo(*argv, **env)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == set()


def test_there_are_eighty():
    assert len({(*case.argv, *case.files.values()) for case in BAD}) >= 80


def test_all_problems_at_once(medgrpo):
    done = medgrpo("lora.rr=8", "lora.alpha=0", "seed=x", "~tracking.nam", "trainer.args.beta=-1")
    problems = [line.strip() for line in done.stderr.splitlines() if line.startswith("  ")]
    keys = ["tracking.nam", "lora.rr", "lora.alpha", "seed", "trainer.args.beta"]
    assert sorted(problem.split()[0] for problem in problems) == sorted(keys)


def test_one_bad_job_stops_the_sweep(medgrpo, tmp_path):
    done = medgrpo("-m", "lora.r=2,4,0", "seed=1,2")
    assert done.returncode == 2
    assert done.stderr.count("lora.r (command line)") == 1
    assert tree(tmp_path) == set()


def test_bad_job_of_a_preset_sweep(medgrpo, tmp_path):
    preset = tmp_path / "own" / "experiment" / "ranks.yaml"
    preset.parent.mkdir(parents=True)
    params = "  mode: MULTIRUN\n  sweeper: {params: {lora.r: '2,0'}}\n"
    preset.write_text(f"{GLOBAL}hydra:\n{params}")
    before = tree(tmp_path)
    done = medgrpo("--config-dir", "own", "experiment=ranks")
    assert done.returncode == 2
    assert "lora.r" in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sweep=lora_rnk", "lora.r=2,4"], "no such choice as lora_rnk; did you mean lora_rank?"),
        (["sweep=lora_rank", "lora.r=2,4", "lora.rr=3"], "lora.rr (command line): no such key"),
    ],
)
def test_a_mistake_beside_a_preset_is_the_only_thing_told(medgrpo, argv, says):
    done = medgrpo(*argv)
    assert done.returncode == 2
    assert "1 problem" in done.stderr
    assert says in done.stderr


@pytest.mark.parametrize(("made", "argv"), [("summary.json", []), ("multirun.yaml", ["-m"])])
def test_a_folder_that_holds_a_run_is_not_written_over(medgrpo, tmp_path, made, argv):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / made).write_text("{}")
    before = tree(tmp_path)
    done = medgrpo(*argv, "seed=1", "output_dir=used")
    assert done.returncode == 2
    holds = "output_dir (command line): used holds a run or sweep; resume=used resumes"
    assert holds in done.stderr
    assert tree(tmp_path) == before


def test_what_a_run_finds_wrong_is_one_message(medgrpo, tmp_path):
    (tmp_path / "rows.json").write_text("{}")
    done = medgrpo("dataset=pubmedqa", "dataset.source=path", "dataset.path=rows.json")
    assert done.returncode == 2
    assert done.stderr == "medgrpo: rows.json: there are no rows\n"


def test_messages_fit_a_terminal(tmp_path):
    """On a terminal of 80 columns, lines are folded between words."""
    script = "import sys, pty; pty.spawn([sys.executable, '-m', 'medgrpo', 'lora.rr=8'])"
    shown = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "80", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(shown) == 4
    assert max(map(len, shown)) <= 80


HEAVY = ["torch", "trl", "transformers", "peft", "deepeval", "evidently", "wandb", "datasets"]
HEAVY += ["pandas", "matplotlib", "pyarrow"]


@pytest.mark.parametrize(
    "argv", [["--cfg", "job"], ["--help"], ["lora.rr=8"], ["profile=gpu", "--info", "defaults"]]
)
def test_questions_and_refusals_import_nothing_heavy(argv, tmp_path):
    script = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
        "from medgrpo.cli import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "hydra" in loaded, done.stderr
    assert loaded.isdisjoint(HEAVY)
    assert tree(tmp_path) == set()


def test_help_fits_a_screen_and_a_half(medgrpo):
    done = medgrpo("--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 48
    assert max(map(len, lines)) <= 80
    groups = ["dataset: bioasq, ", "lora: ", "rewards: formats, judges", "trainer: dr_grpo, grpo"]
    groups += [
        "metrics: abstention, bioasq, calibration, multi_select, rubric, sampling,",
        "dataset.primary_metric=KEY     one of accuracy, ",
    ]
    for part in [*groups, "--cfg job", "--info defaults", "-sc install=bash", "Exit codes"]:
        assert part in done.stdout


def test_cfg_job_shows_what_would_run(medgrpo):
    done = medgrpo("--cfg", "job", "lora.r=16", "trainer.args.top_p=0.9", "--resolve")
    assert done.returncode == 0, done.stderr
    assert "\n  r: 16\n" in done.stdout
    assert "\n    top_p: 0.9\n" in done.stdout


def test_cfg_job_shows_a_config_that_would_be_refused(medgrpo):
    done = medgrpo("--cfg", "job", "trainer.args.num_generations=7")
    assert done.returncode == 0, done.stderr
    assert "num_generations: 7" in done.stdout


def test_info_defaults_lists_the_files(medgrpo):
    done = medgrpo("--info", "defaults", "dataset=pubmedqa")
    assert done.returncode == 0, done.stderr
    assert "| dataset/pubmedqa " in done.stdout


def test_output_dir_may_hold_any_sign(medgrpo):
    done = medgrpo("--cfg", "hydra", "output_dir=it's a=b, [c]")
    assert done.returncode == 0, done.stderr
    assert "dir: it's a=b, [c]" in done.stdout.replace("''", "'")


def test_output_dir_that_is_a_file(medgrpo, tmp_path):
    (tmp_path / "taken").write_text("")
    done = medgrpo("output_dir=taken")
    assert done.returncode == 2
    assert "output_dir (command line)" in done.stderr


def test_resume_repeats_what_was_typed(medgrpo, tmp_path):
    recorded = tmp_path / "run" / ".hydra" / "overrides.yaml"
    recorded.parent.mkdir(parents=True)
    recorded.write_text("- lora.r=16\n- seed=5\n")
    done = medgrpo("--cfg", "job", "resume=run", "seed=6")
    assert done.returncode == 0, done.stderr
    assert "  r: 16\n" in done.stdout
    assert "seed: 6\n" in done.stdout
    hydra = medgrpo("--cfg", "hydra", "resume=run").stdout
    assert "  dir: run\n" in hydra


def test_a_group_of_a_folder_that_is_typed_is_found(medgrpo, tmp_path):
    own = tmp_path / "own" / "dataset" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [medqa]\nlimit: 7\n")
    path = f"hydra.searchpath=[file://{tmp_path / 'own'}]"
    done = medgrpo(path, "dataset=mine", "lora.r=eight")
    assert done.returncode == 2
    assert "1 problem" in done.stderr  # dataset=mine is none
    assert medgrpo(path, "dataset=mine", "--cfg", "job").returncode == 0
    assert "dataset" in medgrpo(path, "dataset=other").stderr


@pytest.mark.parametrize("lying", [[], ["notes.txt"]])
def test_a_run_that_is_refused_leaves_nothing(medgrpo, tmp_path, lying):
    (tmp_path / "rows.txt").write_text("no table")
    for name in lying:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / name).touch()
    done = medgrpo("dataset.source=path", "dataset.path=rows.txt", "output_dir=run")
    assert done.returncode == 2
    assert "dataset.path: rows.txt is none of" in done.stderr
    assert [path.name for path in tmp_path.glob("run/*")] == lying
    assert (tmp_path / "run").exists() == bool(lying)
