"""The benchmarks that are YAML alone, from rows in the schema of their cards; texts are made up."""

from __future__ import annotations

import json

import datasets
import pandas
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from medgrpo.cli import CONF
from medgrpo.dataset.rubric import Rubric

SUBJECTS = [
    "anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics",
    "professional_medicine",
]  # fmt: skip


def medmcqa(n, hidden=False):
    return [
        {"id": f"{hidden}{n}-{i}", "question": f"What is lacking in case {i} of {n}?"}
        | {f"op{letter}": f"substance {letter}{i}" for letter in "abcd"}
        | {"cop": -1 if hidden else i % 4, "choice_type": "single", "exp": None}
        | {"subject_name": "Dental" if i % 2 else "Medicine", "topic_name": None}
        for i in range(n)
    ]


def mmlu(n):
    features = Features(
        {"question": Value("string"), "subject": Value("string")}
        | {"choices": datasets.List(Value("string")), "answer": ClassLabel(names=list("ABCD"))}
    )
    rows = [
        {"question": f"What is {i}?", "subject": "x", "choices": [f"{c}{i}" for c in "wxyz"]}
        | {"answer": i % 4}
        for i in range(n)
    ]
    return Dataset.from_list(rows, features)


def mmlu_pro(n):
    return [
        {
            "question_id": i,
            "question": f"Which is {i}?",
            "options": [f"{c}{i}" for c in "abcdefghij"],
        }
        | {"answer": "ABCDEFGHIJ"[i % 10], "answer_index": i % 10, "cot_content": "", "src": "x"}
        | {"category": "health" if i % 3 == 0 else "law"}
        for i in range(n)
    ]


def metamedqa(n):
    options = {"A": "rest", "B": "drug", "C": "knife", "D": "ray", "E": "None of these"}
    options["F"] = "I don't know or cannot answer"
    return [
        {"question": f"How is {i} treated?", "options": options, "answer_idx": "ABCDEF"[i % 6]}
        | {"answer": "x", "kind": "Fictional" if i % 2 else "Real", "meta_info": "step1"}
        for i in range(n)
    ]


def careqa(n):
    return [
        {"exam_id": 1, "unique_id": f"u{i}", "question": f"Which is {i}?" if i else None}
        | {f"op{k}": f"{k} of {i}" for k in range(1, 5)}
        | {"cop": i % 4 + 1, "year": 2024, "category": "Nursing" if i % 2 else "Medicine"}
        for i in range(n)
    ]


def medxpertqa(n):
    options = {letter: f"{letter.lower()} finding" for letter in "ABCDEFGHIJ"}
    listed = " ".join(f"({letter}) {text}" for letter, text in options.items())
    return [
        {"id": f"Text-{i}", "question": f"What is shown by {i}?\nAnswer Choices: {listed}"}
        | {"options": options, "label": "ABCDEFGHIJ"[i % 10], "body_system": "Skeletal"}
        | {"medical_task": "Diagnosis" if i % 2 else "Treatment", "question_type": "Reasoning"}
        for i in range(n)
    ]


def medbullets(n, letters="ABCDE"):
    return [
        {"question": f"A man has sign {i}. Which is it?", "answer": letters[i % len(letters)]}
        | {"options": {letter: f"disease {letter}" for letter in letters}, "explanation": "x"}
        for i in range(n)
    ]


def headqa(n):
    return [
        {"name": "Cuaderno_2013_1_M", "year": "2013", "category": "medicine", "qid": i + 1}
        | {"qtext": f"¿Qué falta en {i}?", "ra": i % (4 + i % 2) + 1, "image": None}
        | {"answers": [{"aid": k, "atext": f"{k} de {i}"} for k in range(1, 5 + i % 2)]}
        for i in range(n)
    ]


def cmexam(n):
    options = "A 叶酸\nB 铁\nC 维生素B12\nD 碘\nE 锌"
    return [
        {"Question": f"患者{i}缺乏的是", "Options": options, "Explanation": "略"}
        | {"Answer": ["C", "ABD", "EA", None][i % 4], "Disease Group": "x"}
        for i in range(n)
    ]


def frenchmedmcqa(n):
    answers = {letter: f"{letter} de la liste" for letter in "abcde"}
    return [
        {"id": f"q{i}", "question": f"Quelles propositions sont vraies, numéro {i} ?"}
        | {"answers": answers, "correct_answers": [["a"], ["c", "b", "d"]][i % 2]}
        | {"subject_name": "pharmacie", "nbr_correct_answers": [1, 3][i % 2]}
        for i in range(n)
    ]


def medical_o1(n):
    return [
        {"Open-ended Verifiable Question": f"Which vitamin is lacking in {i}?"}
        | {"Ground-True Answer": f"vitamin B{i}"}
        for i in range(n)
    ]


def healthbench(n, subset):
    """openai/healthbench, a file a subset (the published rows' keys)."""
    return [
        {"prompt_id": f"{subset}-{i}", "example_tags": ["theme:hedging", "category:x"]}
        | {"prompt": [{"role": "user", "content": f"I have sign {i}."}]
                     + [{"role": "assistant", "content": "Since when?"},
                        {"role": "user", "content": "Monday."}] * (i % 2)}
        | {"rubrics": [
            {"criterion": "Asks for fever.", "points": 7,
             "tags": ["level:example", "axis:accuracy"]},
            {"criterion": "Prescribes at once.", "points": -4, "tags": ["axis:accuracy"]}]}
        | {"ideal_completions_data": None if i % 3 else {
            "ideal_completion": "Do you have fever?", "ideal_completions_group": "g",
            "ideal_completions_ref_completions": None}}
        for i in range(n)
    ]  # fmt: skip


def rar_medicine(n):
    """ScaleAI/RaR-Medicine, as the paper describes its rows: weights of pitfalls are below 0."""
    return [
        {"question": f"What is the first step in case {i}?", "reference_answer": f"step {i}"}
        | {"question_source": "x", "rubric_count": 2, "rubric": [
            {"title": "Step", "description": f"Essential Criteria: Names step {i}.", "weight": 5},
            {"title": "Dose", "weight": -1,
             "description": "Pitfall Criteria: Does not ask the dose."},
        ]}
        for i in range(n)
    ]  # fmt: skip


def parts(**splits):
    kept = {k: v if isinstance(v, Dataset) else Dataset.from_list(v) for k, v in splits.items()}
    return DatasetDict(kept)


HUB = {
    ("openlifescienceai/medmcqa", None): lambda: parts(
        train=medmcqa(120), validation=medmcqa(20), test=medmcqa(30, hidden=True)
    ),
    **{
        ("cais/mmlu", name): lambda: parts(test=mmlu(20), validation=mmlu(28).select(range(20, 28)))
        for name in SUBJECTS
    },
    ("TIGER-Lab/MMLU-Pro", None): lambda: parts(test=mmlu_pro(90), validation=mmlu_pro(102)[90:]),
    ("maximegmd/MetaMedQA", None): lambda: parts(test=metamedqa(30)),
    ("HPAI-BSC/CareQA", "CareQA_en"): lambda: parts(test=careqa(40)),
    ("TsinghuaC3I/MedXpertQA", "Text"): lambda: parts(dev=medxpertqa(5), test=medxpertqa(30)),
    ("mkieffer/Medbullets", None): lambda: parts(
        op4_test=medbullets(20, "ABCD"), op5_test=medbullets(20)
    ),
    ("EleutherAI/headqa", "es"): lambda: parts(
        train=headqa(60), validation=headqa(20)[10:], test=headqa(100)[60:]
    ),
    ("fzkuji/CMExam", None): lambda: parts(
        train=cmexam(80), validation=cmexam(100)[80:], test=cmexam(140)[100:]
    ),
    ("FreedomIntelligence/medical-o1-verifiable-problem", None): lambda: parts(
        train=medical_o1(100)
    ),
    ("ScaleAI/RaR-Medicine", None): lambda: parts(
        train=rar_medicine(60), validation=rar_medicine(80)[60:], test=rar_medicine(100)[80:]
    ),
    **{
        ("openai/healthbench", file): lambda n=n, subset=subset: parts(train=healthbench(n, subset))
        for n, (subset, file) in enumerate(
            {
                "all": "2025-05-07-06-14-12_oss_eval.jsonl",
                "hard": "hard_2025-05-08-21-00-10.jsonl",
                "consensus": "consensus_2025-05-09-20-00-46.jsonl",
            }.items(),
            start=7,
        )
    },
}


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    def load_dataset(path, name=None, *, split=None, revision=None, data_files=None):
        found = HUB[path, data_files or name]()
        return found if split is None else found[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def load(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", list(overrides))
    OmegaConf.resolve(cfg.dataset)
    return instantiate(cfg.dataset, _convert_="all").load()


@pytest.mark.parametrize(
    ("name", "sizes", "labels", "groups"),
    [
        ("medmcqa", (100, 20, 20), "ABCD", {"Dental", "Medicine"}),
        ("mmlu_medical", (0, 48, 120), "ABCD", set(SUBJECTS)),
        ("mmlu_pro_health", (0, 4, 30), "ADGJBEHCFI", {""}),
        ("metamedqa", (0, 0, 30), "ABCDEF", {"Fictional", "Real"}),
        ("careqa", (0, 0, 39), "ABCD", {"Nursing", "Medicine"}),
        ("medxpertqa", (0, 0, 30), "ABCDEFGHIJ", {"Diagnosis", "Treatment"}),
        ("medbullets", (0, 0, 20), "ABCDE", {""}),
        ("headqa", (50, 10, 40), "ABCDE", {"medicine"}),
    ],
)
def test_a_benchmark_from_its_hub_schema(name, sizes, labels, groups):
    data = load(f"dataset={name}")
    assert tuple(len(data[split]) for split in ("train", "validation", "test")) == sizes
    test = data["test"]
    assert set(test["label"]) == set(labels)
    assert set(test["group"]) == groups
    assert len(set(test["id"])) == sizes[2]
    for row in test:
        assert row["options"]["ABCDEFGHIJ".index(row["label"])] == row["answer"]


def test_the_labels_are_the_rows_own():
    first = load("dataset=careqa")["test"][0]  # number 0 has no question
    assert (first["id"], first["label"], first["answer"]) == ("u1", "B", "2 of 1")
    last = load("dataset=metamedqa")["test"][5]
    assert last["answer"] == "I don't know or cannot answer"


def test_medmcqa_in_its_authors_files_counts_from_one(tmp_path):
    for name, count in {"train": 120, "dev": 20}.items():
        rows = [{**row, "cop": row["cop"] + 1} for row in medmcqa(count)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    data = load(
        "dataset=medmcqa", "dataset.source=path", f"dataset.path={tmp_path}",
        "dataset.answer_is=number", "dataset.splits={train: train.json, test: dev.json}",
    )  # fmt: skip
    assert data["test"][1]["answer"] == "substance b1"
    assert len(data["test"]) == 20


def test_a_question_that_lists_its_options_is_cut():
    for row in load("dataset=medxpertqa")["test"]:
        assert row["question"].startswith("What is shown by ")
        assert "Answer Choices" not in row["question"]


def test_medxpertqa_in_its_authors_files(tmp_path):
    rows = [
        row
        | {"options": [{"letter": k, "content": v} for k, v in row["options"].items()]}
        | {"label": [row["label"]]}
        for row in medxpertqa(20)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    test = load("dataset=medxpertqa", "dataset.source=path", f"dataset.path={tmp_path}")["test"]
    assert [row["label"] for row in test][:3] == ["A", "B", "C"]
    assert test[2]["answer"] == "c finding"


def test_medbullets_with_four_options_and_as_its_authors_store_a_table(tmp_path):
    four = load("dataset=medbullets", "dataset.hub_splits={test: op4_test}")["test"]
    assert {len(row["options"]) for row in four} == {4}
    columns = ["question", "opa", "opb", "opc", "opd", "ope", "answer_idx", "answer"]
    rows = [[f"A man has sign {i}?", *"vwxyz", "ABCDE"[i % 5], "vwxyz"[i % 5]] for i in range(10)]
    table = {name: {str(i): row[n] for i, row in enumerate(rows)} for n, name in enumerate(columns)}
    (tmp_path / "medbullets_op5.json").write_text(json.dumps(table))
    test = load(
        "dataset=medbullets", "dataset.source=path", f"dataset.path={tmp_path}",
        "dataset.splits={test: medbullets_op5.json}", "dataset.answer=answer_idx",
        "dataset.options=[opa,opb,opc,opd,ope]",
    )["test"]  # fmt: skip
    assert [row["answer"] for row in test] == list("vwxyz") * 2


def test_headqa_in_its_authors_files(tmp_path):
    for split, first in {"train": 0, "dev": 60, "test": 80}.items():
        exams = {}
        for category in ("medicine", "nursing"):
            rows = [
                {key: row[key] for key in ("qid", "qtext", "ra", "answers")}
                | {"qtext": f"{row['qtext']} {category}"}
                for row in headqa(first + 20)[first:]
            ]
            exams[f"Cuaderno_{category}"] = {"year": "2013", "category": category, "data": rows}
        (tmp_path / f"{split}_HEAD.json").write_text(json.dumps({"version": 1, "exams": exams}))
    data = load(
        "dataset=headqa", "dataset.source=path", f"dataset.path={tmp_path}",
        "dataset.records=exams.*.data",
        "dataset.splits={train: train_HEAD.json, validation: dev_HEAD.json, test: test_HEAD.json}",
    )  # fmt: skip
    assert [len(data[split]) for split in ("train", "validation", "test")] == [40, 40, 40]
    assert set(data["test"]["group"]) == {"medicine", "nursing"}
    assert data["test"][1]["answer"] == "2 de 81"


def test_any_number_of_options_may_be_right(tmp_path):
    data = load("dataset=cmexam", "dataset.drop_limit=1")
    assert [len(data[split]) for split in ("train", "validation", "test")] == [60, 15, 30]
    found = {row["label"]: row["answer"] for row in data["test"]}
    assert found == {"{C}": "维生素B12", "{A,B,D}": "叶酸; 铁; 碘", "{A,E}": "叶酸; 锌"}
    for name, rows in {
        "train": frenchmedmcqa(40), "dev": frenchmedmcqa(60)[40:], "test": frenchmedmcqa(90)[60:]
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    test = load("dataset=frenchmedmcqa", f"dataset.path={tmp_path}")["test"]
    assert [row["label"] for row in test][:2] == ["{A}", "{B,C,D}"]
    assert test[1]["answer"] == "b de la liste; c de la liste; d de la liste"


def test_open_questions_have_no_label():
    data = load("dataset=medical_o1_verifiable")
    assert set(data["train"]["label"]) == {None}
    assert data["train"][0]["answer"].startswith("vitamin B")


@pytest.mark.parametrize("subset", ["all", "hard", "consensus"])
def test_a_healthbench_subset_from_its_file_of_the_hub(tmp_path, subset):
    """Multi-turn, with rubric and theme, and the same rows from a file of one's own."""
    hub = load("dataset=healthbench", "dataset.source=hub", f"dataset.subset={subset}")
    assert (len(hub["train"]), len(hub["validation"])) == (0, 0)
    first, second = hub["test"][0], hub["test"][1]
    assert first["id"] == f"{subset}-0"
    assert (first["group"], first["answer"]) == ("hedging", "Do you have fever?")
    assert second["answer"] == ""
    turns = json.loads(second["turns"])
    assert turns[1] == {"role": "assistant", "content": "Since when?"}
    rubric = Rubric.of(second)
    assert [(one.points, one.tags) for one in rubric.criteria] == [
        (7.0, ("level:example", "axis:accuracy")), (-4.0, ("axis:accuracy",)),
    ]  # fmt: skip
    assert rubric.tags == ("theme:hedging", "category:x")
    (tmp_path / "test.jsonl").write_text(
        "\n".join(map(json.dumps, healthbench(len(hub["test"]), subset)))
    )
    read = load("dataset=healthbench", "dataset.source=path", f"dataset.path={tmp_path}")["test"]
    assert read.to_list() == hub["test"].to_list()


def test_rar_medicine_from_the_hub():
    data = load("dataset=rar_medicine")
    assert [len(data[split]) for split in ("train", "validation", "test")] == [60, 20, 20]
    row = data["test"][3]
    assert (row["answer"], row["label"]) == ("step 83", None)
    assert [(one.text, one.points, one.category) for one in Rubric.of(row).criteria] == [
        ("Names step 83.", 5.0, "Essential"), ("Does not ask the dose.", -1.0, "Pitfall"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "rows", "more"),
    [
        ("careqa", "test.jsonl", careqa(40), []),
        ("metamedqa", "test.jsonl", metamedqa(30), []),
        ("mmlu_pro_health", "test.parquet", mmlu_pro(90), []),
        ("cmexam", "test.csv", cmexam(140)[100:], []),
        (
            "mmlu_medical",
            "anatomy_test.csv",
            [[f"What is {i}?", *(f"{c}{i}" for c in "wxyz"), "ABCD"[i % 4]] for i in range(20)],
            [
                "dataset.columns=[question,A,B,C,D,answer]",
                "dataset.options=[A,B,C,D]",
                "dataset.answer_is=letter",
            ],
        ),
    ],
)
def test_the_files_of_a_benchmark_are_read_as_its_hub_rows_are(tmp_path, name, file, rows, more):
    table = pandas.DataFrame(rows)
    if file.endswith(".jsonl"):
        table.to_json(tmp_path / file, orient="records", lines=True, force_ascii=False)
    elif file.endswith(".csv"):
        table.to_csv(tmp_path / file, index=False, header=not more)
    else:
        table.to_parquet(tmp_path / file)
    read = load(
        f"dataset={name}", "dataset.source=path", f"dataset.path={tmp_path}",
        "dataset.drop_limit=1", *more,
    )["test"]  # fmt: skip
    hub = load(f"dataset={name}", "dataset.drop_limit=1")["test"]
    asked = ("question", "options", "answer", "label")
    found = {str([row[key] for key in asked]) for row in read}
    assert found
    assert found <= {str([row[key] for key in asked]) for row in hub}
    assert {row["label"] for row in read} == {row["label"] for row in hub}
