"""Answers in many forms and languages, whole and cut off anywhere: what each of them claims."""

from __future__ import annotations

import pytest

from medgrpo.answers.parse import predict
from medgrpo.dataset.example import Example

CHOICE = Example(
    id="1",
    question="Which?",
    context=[],
    options=["Methanol", "Ethylene glycol", "Ethanol", "Isopropyl alcohol"],
    answer="Ethylene glycol",
    label="B",
    explanation="",
)
YES_NO = Example({**CHOICE, "options": [], "answer": "yes", "label": "yes"})
CHINESE = Example({**CHOICE, "options": ["维生素B1", "维生素B12", "维生素C", "烟酸"]})

# All of them claim B, after a chain of thought as in an answer block.
CLAIM_B = {
    "en": """
        B | b | (B) | [B] | B) | B. | B: | B!! | "B" | 'B' | `B` | **B** | __B__ | $B$ | <B>
        B) Ethylene glycol | B. Ethylene glycol | B: Ethylene glycol | B - Ethylene glycol
        (B) Ethylene glycol | **B. Ethylene glycol** | Ethylene glycol | B.Ethylene glycol
        Option B | option (b) | Choice B | Letter B | Answer B | Answer: B | Answer: (B) | Answer:B
        ANSWER: B | Answer : B | Answer - B | Answer – B | Answer = B | Answer -> B | Answer => B
        Answer → B | **Answer:** B | **Answer: B** | *Answer*: **B** | Answer: **(B)** | Answer (B)
        Answer is B | Answer is: B | Answer: B. Ethylene glycol | Answer: B (Ethylene glycol)
        Ans. B | Ans: B | Ans B | answer_choice: B | answer: b | Final Answer: B
        Final answer: (B). | Final answer – B | Correct Answer - B | Correct answer: B
        Correct option: B | Best answer: B | My answer: B | My choice is B. | The answer is B
        The answer is (B). | the answer is b. | The answer is "B". | THE ANSWER IS B
        The answer is **B**. | The answer is: B | The answer is option B. | The answer is [B].
        The answer is B: Ethylene glycol. | The answer is B, Ethylene glycol. | The answer is <B>
        The answer is Ethylene glycol. | The answer is B because of the crystals.
        The answer is (B). And (A) is wrong.
        The answer is B. Methanol forms no crystals. | The answer is (B), not (A).
        The answer is B rather than A. | The answer is (B), as (A) and (C) form no crystals.
        The answer is therefore (B). | The answer is most likely B. | The answer is clearly B.
        The answer must be B. | The answer would be B. | The answer, I am sure, is B.
        The answer to this question is (B). | Among A through D, the answer is B.
        Therefore, among A through D, the answer is B) Ethylene glycol.
        So the answer choice is B. | The correct answer is B.
        The correct answer is option (B) Ethylene glycol. | The correct option is B.
        The best option is B. | The best answer is B) Ethylene glycol.
        The most appropriate answer is B. | The right answer is b. | The final answer is (B).
        The most likely diagnosis is B. | The best choice would be (B). | Therefore, B. | So (B).
        Thus, B) Ethylene glycol. | Hence B. | In conclusion, (B). | I think B | I think it's B.
        I think the answer is B. | I believe (B). | I choose B. | I would choose B. | I'd pick B.
        I'd go with B. | I'm going with B. | I would go with (B). | I select option B.
        We choose B. | Let's go with B. | I'd say B. | It must be B. | B is correct.
        (B) is correct. | Option B is correct. | B is the correct answer.
        Option B is the best answer. | (B) Ethylene glycol is the correct answer.
        Ethylene glycol is the correct answer. | So option B would be the best choice. | \\boxed{B}
        $\\boxed{B}$ | $\\boxed{\\text{B}}$ | \\boxed{(B)} | \\(\\boxed{B}\\) | \\fbox{B}
        \\boxed{B) Ethylene glycol} | The result is \\boxed{B} here.
        **Final Answer:** $\\boxed{B}$ | {"answer": "B"}
        {"answer_choice": "B", "confidence": 0.9} | {"answer": "(B)"}
        {"reasoning": "The answer is (A)? No.", "answer": "B"} | {"answer": "B. Ethylene glycol"}
        {"answer_choice": "B", "reasoning": "(A) is no acid."} | {"final_answer": "B"}
        {'answer': 'B'} | {"Answer": "Ethylene glycol"} | {"answer": ["B"]} | {"choice": "b"}
        [{"option": "A", "fits": 0}, {"option": "B", "fits": 1}, {"answer": "B"}] | {"option": "B"}
        {"answer": B} | {"step_by_step_thinking": "So it isn't A.", "answer_choice": "B"}
        """,
    "zh": """
        答案：B | 答案:B | 答案是B | 答案是 B | 答案为B | 答案为（B） | 答案是Ｂ | 答案：Ｂ。
        答案：B. Ethylene glycol | 正确答案为 B | 正确答案是B。 | 正确答案：B | 最佳答案是B
        答案应为B | 答案应该是B | 答案选B | 选 B | 选B。 | 选择B | 故选B | 故选 B。 | 应选B
        因此选B。 | 因此，正确答案是（B）Ethylene glycol。 | 综上，答案是B。 | 所以选B
        正确选项是B | 正确选项为B。 | 我选B | 答案是选项B | **答案：B** | 答案：\\boxed{B}
        最终答案：B | B。 | （B） | Ｂ
        """,
    "es": """
        Respuesta: B | Respuesta: (B) | La respuesta es B | La respuesta es (B).
        La respuesta es la B. | La respuesta correcta es B | La respuesta correcta es la (B).
        Respuesta correcta: B | La respuesta correcta a esta pregunta es B.
        La opción correcta es B. | Respuesta final: B | Por lo tanto, la respuesta es B.
        Por tanto, B. | La respuesta correcta es la opción B. | **Respuesta: B** | Creo que es B.
        La respuesta sería B. | B es la respuesta correcta.
        """,
    "de": """
        Antwort: B | Antwort: (B) | Die Antwort ist B | Die Antwort ist (B).
        Die Antwort lautet B. | Die richtige Antwort ist B | Die richtige Antwort lautet (B).
        Richtige Antwort: B | Die richtige Antwort ist daher B.
        Die korrekte Antwort auf diese Frage ist B. | Lösung: B | **Antwort: B** | Daher B.
        Ich wähle B. | Die Antwort ist Option B. | Endgültige Antwort: B
        B ist die richtige Antwort.
        """,
    "fr": """
        Réponse: B | Réponse : B | Réponse : (B) | La réponse est B | La réponse est (B).
        La bonne réponse est B | La bonne réponse est la (B). | La réponse correcte est donc B.
        Bonne réponse : B | La réponse à cette question est B. | Donc B. | La réponse est donc B.
        **Réponse : B** | Je choisis B. | La bonne réponse est l'option B. | Réponse finale : B
        B est la bonne réponse.
        """,
    "pt": """
        Resposta: B | Resposta: (B) | A resposta é B | A resposta é (B). | A resposta é a letra B.
        A resposta correta é B | A resposta correta é a (B). | Resposta correta: B
        A alternativa correta é B. | A opção correta é a B. | Portanto, B. | A resposta certa é B.
        **Resposta: B** | Escolho B. | Portanto, a resposta é B. | B é a resposta correta.
        """,
    "it": """
        Risposta: B | Risposta: (B) | La risposta è B | La risposta è (B). | La risposta è la B.
        La risposta corretta è B | La risposta corretta è la (B). | Risposta corretta: B
        La risposta giusta è quindi la B. | L'opzione corretta è B. | Quindi B.
        Risposta finale: B | **Risposta: B** | Scelgo B. | La risposta corretta è l'opzione B.
        B è la risposta corretta.
        """,
}

# None of them claims anything: two answers, half an answer, another's answer, a condition, a list.
NO_CLAIM = """
    A or B | A/B | B/C | A and B | (A) or (C) | either B or C | B or none | B or none of them
    B, else A | (B), possibly A | B, perhaps C | B; maybe D | B (or C) | B if bleeding, A otherwise
    B if she bleeds | B, if she bleeds | B unless she bleeds | B oder C | B o C | B ou C | B或C
    B 或 C | B, sonst A | B，否则A | B, but A is also possible | B, though A could be right
    B (70%), A (30%) | B as well as C | B, followed by C | B, with A as an alternative | B... or C
    B, or if she bleeds, A | B; if not available, A | If pregnant A, otherwise B | B or C?
    B and D are both correct | B. Or C. | B when bleeding, A when not | first B, then C | B & C
    B) Ethylene glycol, but A) Methanol could be right | B, but methanol may be right
    The answer is A or B | The answer is B/C | The answer is B or none | The answer is (A) and (C)
    The answer is either A or B. | The answer is B if bleeding, A otherwise
    The answer is B, else A | The answer is (B), possibly A | The answer is B or possibly C.
    The answer is A, B or C | The answer is B) Ethylene glycol. Alternatively C) Ethanol.
    \\boxed{A or B} | {"answer": "B/C"} | {"answer": ["B", "C"]}
    {"answer": "A or B", "confidence": 1} | {"answer": null} | La respuesta es B o C
    Die Antwort ist B oder C | La réponse est B ou C | A resposta é B ou C | La risposta è B o C
    答案是 B 或 C | 答案是B，可能A | 答案：A和B | The answer is not A. | The answer is unclear
    The answer is none of the above. | It is not B. | B is incorrect | B isn't right
    La respuesta no es A | Die Antwort ist nicht A | 不选A | The wrong answer is A.
    The other option is A. | The second best answer is A. | I would not choose A.
    Some may choose A. | One may think that the answer is A. | The answer is A. Wait, no.
    So the answer is A. But wait, it is not an acid. | At first, the answer seems to be A.
    Is the answer A? | Why not A? | If she were bleeding, the answer would be A.
    The answer would be A if she were bleeding. | Si hay sangrado, la respuesta sería A.
    Wenn sie blutet, ist die Antwort A. | 如果出血，答案是A。
    Let's evaluate each option:\\nA. Methanol | Answer choices:\\nA. Methanol\\nB. Ethylene glycol
    Options:\\nA) Methanol\\nB) Ethylene glycol\\nC) Ethanol
    The options are as follows:\\nA. Methanol | The organism is C. difficile.
    The answer is B cells | The diagnosis is C. difficile colitis. | I don't know
    I cannot answer this question. | As an AI, I cannot choose between A and B. | The answer is (E)
    \\boxed{E} | {"answer": "E"} | Ответ: В | A 54-year-old man | ... | ?
    """

# They claim something in a whole sentence, and take it back in the next.
TAKEN_BACK = {
    "The answer is B) Ethylene glycol. Alternatively C) Ethanol.": "B",
    "The answer is A. Wait, no.": "A",
    "So the answer is A. But wait, it is not an acid.": "A",
}

# What a person would read and this parser does not: told apart from no claim only by their sense.
MISSED = """
    Most likely B, less likely C. | The patient drank what is listed second. | The second option.
    B\\n\\nI hope this helps! | Everything points to B here. | B it is! | The winner: B
    La B es la buena. | B ist es. | C'est B ! | É a B. | È la B. | B项符合题意 | 答案乙
    """

LABELS = {
    "yes": """
        yes | Yes. | YES | **yes** | Yes! | Yes, it does. | The answer is yes. | Answer: yes
        Ans: yes | Final answer: yes | Therefore, yes. | I think yes. | {"answer": "yes"}
        \\boxed{yes} | {"answer_choice": "yes", "why": "no harm was seen"} | Respuesta: yes
        答案：yes | 答案是 yes | Yes, because mortality fell. | Yes. Mortality fell.
        Yes, no harm was seen. | Antwort: yes | The answer is yes, since mortality fell.
        Yes. However, further studies are needed.
        """,
    "no": """
        no | No. | No, it does not. | The answer is no. | Answer: no | Therefore, no. | \\boxed{no}
        {"answer": "no"} | No, because the groups did not differ. | The answer is: no
        """,
    "maybe": """
        maybe | Maybe. | The answer is maybe. | Answer: maybe | Maybe, the data are few.
        Maybe, but the data are few. | {"answer": "maybe"} | \\boxed{maybe}
        If it were given late, the answer would be no.\\nMaybe
        """,
    "": """
        Yes (in part) | yes, partially | yes, to some extent | Possibly yes | Only in women, yes
        yes, whereas no in men | Yes with caveats | It depends: yes | Yes, yet not significantly
        maybe, but no could be right | Let's see:\\nyes: it fits\\nno: it does not
        yes, but the effect is not significant | Yes. However, the effect is not significant.
        yes, although not in all patients | yes, only in women | yes if given early
        yes, unless late | yes in adults, no in children | yes, otherwise no | yes, possibly no
        no, unless treated | If given early, yes | yes or no | yes/no | maybe yes
        The answer is yes, but only in part. | The answer is yes if it is given early.
        {"answer": "yes, but it depends"} | no, but yes
        If it were given late, the answer would be no. | no difference was found | uncertain | 是
        да
        """,
}


def forms(table: str) -> list[str]:
    """The forms of a table, which stand on lines and between bars."""
    return [
        form.strip().replace("\\n", "\n")
        for line in table.strip().splitlines()
        for form in line.split(" | ")
    ]


def block(form: str) -> str:
    return f"<reasoning>\nIs it (A) or (D)?\n</reasoning>\n<answer>\n{form}\n</answer>"


def chain(form: str) -> str:
    return f"Crystals form in the tubules. (A) does not do that, nor does (C).\n\n{form}"


LAYOUTS = {"block": (block, "reasoning"), "chain": (chain, "choice_cot")}
TABLE = [
    *((CHOICE, form, "B") for table in CLAIM_B.values() for form in forms(table)),
    *((CHOICE, form, None) for form in forms(NO_CLAIM)),
    *((YES_NO, form, label or None) for label, table in LABELS.items() for form in forms(table)),
]


def test_the_table_is_as_large_as_promised() -> None:
    assert len({(row["label"], form) for row, form, _ in TABLE}) >= 300


@pytest.mark.parametrize(("row", "form", "claimed"), TABLE, ids=[form for _, form, _ in TABLE])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_form_claims(row: Example, form: str, claimed: str | None, layout: str) -> None:
    write, style = LAYOUTS[layout]
    assert predict(write(form), row, style) == claimed


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_form_that_was_cut_off_claims_nothing_else(layout: str) -> None:
    """Whoever was cut off has said what stands in whole sentences before the cut."""
    write, style = LAYOUTS[layout]
    for row, form, claimed in TABLE:
        said = {None, claimed, TAKEN_BACK.get(form)}
        for text in (write(form), form):
            cuts = [text[: len(text) * tenth // 10] for tenth in range(1, 10)]
            assert {predict(cut, row, style, truncated=True) for cut in cuts} <= said, form


@pytest.mark.parametrize("form", forms(MISSED))
def test_what_is_missed(form: str) -> None:
    """A list and no wish: what reads one of them, and no more than it claims, is welcome."""
    assert predict(chain(form), CHOICE, "choice_cot") is None


@pytest.mark.parametrize(
    ("form", "claimed"),
    [
        ("维生素B12", "B"),
        ("维生素 B12", "B"),
        ("维生素Ｂ１２", "B"),
        ("答案是维生素C。", "C"),
        ("维生素C缺乏", "C"),
        ("维生素B1", "A"),
        ("B）维生素B12", "B"),
        ("B 维生素C", None),
        ("不是维生素C", None),
        ("维生素B1或维生素C", None),
    ],
)
def test_options_in_a_script_without_spaces(form: str, claimed: str | None) -> None:
    assert predict(block(form), CHINESE, "reasoning") == claimed


@pytest.mark.parametrize(
    ("response", "claimed"),
    [
        ("<think>The answer is (A).</think>\nThe answer is (B).", "B"),
        ("<think>The answer is (A).</think>\n\n**B**", "B"),
        ("The answer is (A).\n</think>\n\nAnswer: B", "B"),
        ("<think>The answer is (A).", None),
        ('<think>\\boxed{A} {"answer": "A"} <answer>A</answer>', None),
        ("The answer is (B). <think>Or is it (A)? The answer is (A).", "B"),
        ("B <think>Or is it (A)?", None),  # no statement, and it was cut off
        ("<reasoning>\nThe answer is (B). This is because", "B"),
        ("<reasoning>\nThe answer is (B", None),
        ("<reasoning>\nLet's see.\nA. Methanol", None),
        ("## Thinking\n\nThe answer is A.\n\n## Final Response\n\nThe answer is B.", "B"),
        ("## Thinking\n\nThe answer is A.\n\nBut", None),
        ("<|im_start|>think\nThe answer is A.<|im_start|>answer\nAnswer: B", "B"),
    ],
)
@pytest.mark.parametrize("style", ["reasoning", "choice_cot"])
def test_a_thinking_block_is_no_answer(response: str, claimed: str | None, style: str) -> None:
    assert predict(response, CHOICE, style) == claimed


@pytest.mark.parametrize(
    ("response", "claimed"),
    [
        ("<reasoning>So.</reasoning><answer>B</answer>", "B"),
        ("<reasoning>So.</reasoning><answer>B</answer> and furth", "B"),
        ("<reasoning>So.</reasoning><answer>B) Ethy", None),
        ("<answer>A</answer> No: <answer>B", "A"),
        ("The answer is (B). And", "B"),
        ("The answer is (B)", None),
        ("The answer is B. fumi", None),
        ('{"answer": "B", "confi', "B"),
        ('{"answer": "B', None),
        ("\\boxed{B} is", "B"),
        ("\\boxed{B", None),
        ("B) Ethylene glycol\n\nThis is bec", None),
    ],
)
def test_told_that_a_response_was_cut_off(response: str, claimed: str | None) -> None:
    assert predict(response, CHOICE, "reasoning", truncated=True) == claimed


def test_a_text_answer_that_was_cut_off() -> None:
    row = Example({**CHOICE, "options": [], "label": None})
    assert predict("The answer is BRCA1; BRCA2. It", row, "choice_cot", truncated=True) == (
        "BRCA1; BRCA2."
    )
    assert predict("The answer is BRCA1; BR", row, "choice_cot", truncated=True) is None
    assert predict("<answer>BRCA1; BR", row, "reasoning", truncated=True) is None
    assert predict("BRCA1", row, "reasoning", truncated=True) is None


def test_a_text_answer_in_json_or_a_box() -> None:
    row = Example({**CHOICE, "options": [], "label": None})
    assert predict('{"why": "x", "answer": "BRCA1; TP53"}', row, "choice_cot") == "BRCA1; TP53"
    assert predict('<answer>{"answer": ["BRCA1", "TP53"]}</answer>', row, "reasoning") == (
        "BRCA1, TP53"
    )
    assert predict("So it is \\boxed{BRCA1}.", row, "choice_cot") == "BRCA1"
