"""Rows as the hub's repositories have them (their columns: docs/data.md); texts are made up."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]


def usmle(rows: int, word: str = "patient") -> Rows:
    """GBaker/MedQA-USMLE-4-options."""
    options = {"A": "alpha", "B": "beta", "C": "gamma", "D": "delta"}
    return [
        {
            "question": f"A {word} presents with sign {i}. Which is it?",
            "answer": options["ABCD"[i % 4]],
            "options": options,
            "meta_info": "step1",
            "answer_idx": "ABCD"[i % 4],
            "metamap_phrases": [word],
        }
        for i in range(rows)
    ]


def mini_bioasq(rows: int, first: int = 0) -> Rows:
    """enelpol/rag-mini-bioasq, question-answer-passages."""
    return [
        {
            "question": f"Which gene is number {first + i}?",
            "answer": f"Prose {i}.",
            "id": first + i,
            "relevant_passage_ids": [i, i + 1],
        }
        for i in range(rows)
    ]


def corpus(rows: int) -> Rows:
    """enelpol/rag-mini-bioasq, text-corpus."""
    return [{"passage": f"Passage {i}.", "id": i} for i in range(rows)]


def pubmedqa(rows: int, first: int, labels: list[str]) -> Rows:
    """qiaojin/PubMedQA, any configuration with decisions."""
    return [
        {
            "pubid": first + i,
            "question": f"Does treatment {first + i} work?",
            "context": {
                "contexts": [f"Methods {first + i}.", "Results."],
                "labels": ["METHODS", "RESULTS"],
                "meshes": ["Humans"],
            },
            "long_answer": f"It does so {i}.",
            "final_decision": labels[i % len(labels)],
        }
        for i in range(rows)
    ]


def meerkat(rows: int) -> Rows:
    """dmis-lab/meerkat-instructions, MedQA-CoT."""
    asked = "A man has sign {}. Type (A) blood. Which? (A) one (B) two (C) three (D) four"
    return [
        {
            "id": f"medqa-cot_{i}",
            "messages": [
                {"role": "system", "content": "Solve this step by step."},
                {"role": "user", "content": asked.format(i)},
                {"role": "assistant", "content": f"Not (A). By {i}, the answer is (B) two."},
            ],
        }
        for i in range(rows)
    ]
