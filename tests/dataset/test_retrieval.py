"""Context from a corpus of one's own: what is found, what is kept, what is told."""

import json

import pytest

from medgrpo.dataset import retrieval
from medgrpo.dataset.retrieval import Index, recall
from medgrpo.errors import UserError

pytest.importorskip("bm25s")

TEXTS = [
    "Scurvy is a lack of vitamin C, ascorbic acid.",
    "Beriberi is a lack of vitamin B1, thiamine.",
    "Pellagra is a lack of vitamin B3, niacin.",
    "The posterior pituitary releases oxytocin and vasopressin.",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(retrieval, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_passages_come_from_lines_of_json_and_from_text(tmp_path):
    """A title stands before its text; a passage that is there twice is one."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    records = [
        {"text": TEXTS[0]},
        {"title": "Vitamin B1", "contents": TEXTS[1]},
        {"text": TEXTS[0]},
    ]
    (corpus / "a.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n\n")
    (corpus / "b.txt").write_text(f"{TEXTS[2]}\n\n\n{TEXTS[3]}\n")
    (corpus / "notes.md").write_text("not read")
    index = Index.of(corpus)
    assert index.texts == [TEXTS[0], f"Vitamin B1. {TEXTS[1]}", TEXTS[2], TEXTS[3]]
    (first,) = index.search(["Where is oxytocin released?"], 1)
    assert first == [TEXTS[3]]
    assert index.search(["vitamin C"], 1) == [[TEXTS[0]]]  # a word of one letter counts
    assert [len(found) for found in index.search(["vitamin", "scurvy", "xyz"], 9)] == [3, 1, 0]


def test_the_index_is_kept_until_the_corpus_changes(tmp_path, cache, monkeypatch):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"text": TEXTS[0]}) + "\n" + json.dumps({"text": TEXTS[1]}))
    Index.of(corpus)
    with monkeypatch.context() as still:
        still.setattr(retrieval, "_build", None)  # would fail if it were called
        assert Index.of(corpus).search(["thiamine"], 1) == [[TEXTS[1]]]
    corpus.write_text(json.dumps({"text": TEXTS[2]}))
    assert Index.of(corpus).texts == [TEXTS[2]]
    assert len(list(cache.iterdir())) == 2


def test_recall_is_of_what_the_corpus_has():
    found = [["a", "b"], ["c", "d"], ["e"]]
    own = [["a", "x", "b", "b"], ["c", "q"], ["not there"]]
    assert recall(own, found, ["a", "b", "c", "x", "d", "e", "q"]) == pytest.approx(
        (2 / 3 + 1 / 2) / 2
    )
    assert recall([["not there"]], [["a"]], ["a"]) is None


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.jsonl", '{"text": "a"}\n{"words": "b"}', "line 2 has none of text, passage"),
        ("x.jsonl", "no json", "line 1 has none of"),
        ("x.csv", "a,b", "is no .jsonl or .txt file"),
        ("x.txt", "\n\n", "holds no passages"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_told(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=told):
        Index.of(tmp_path / name)


def test_a_run_reads_what_was_found(medgrpo, tmp_path):
    """In place of the rows' own passages, in prompts and records, and the log says how well."""
    rows = {
        str(n): {"QUESTION": f"Does drug {n} help?", "CONTEXTS": [f"Drug {n} helped {n} patients."],
                 "final_decision": "yes" if n % 2 else "no", "LONG_ANSWER": "So it is."}
        for n in range(40)
    }  # fmt: skip
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    corpus = [row["CONTEXTS"][0] for row in rows.values()] + TEXTS
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in corpus))
    run = [
        "trainer=none", "tracking=local", "dataset=pubmedqa", "dataset.source=path",
        "dataset.path=rows.json", "dataset.test_ids=null", "rewards=[formats]",
    ]  # fmt: skip
    plain = medgrpo(*run, "output_dir=plain")
    found = medgrpo(*run, "dataset.retrieval=bm25", "dataset.corpus=corpus.jsonl",
                    "dataset.passages=2", "output_dir=found")  # fmt: skip
    assert (plain.returncode, found.returncode) == (0, 0), plain.stderr + found.stderr
    assert (
        "retrieval: test: recall@2 of the rows' own passages 1.000" in found.stdout + found.stderr
    )
    prints = [
        json.loads((tmp_path / name / "passport.json").read_text())["dataset"]["test"]
        for name in ("plain", "found")
    ]
    assert prints[0] != prints[1]  # other prompts, another fingerprint
    missing = medgrpo(*run, "dataset.retrieval=bm25", "output_dir=missing")
    assert missing.returncode == 2
    assert "dataset.corpus: retrieval needs dataset.corpus=FILE or FOLDER" in missing.stderr
