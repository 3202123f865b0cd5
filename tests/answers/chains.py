"""Chains of thought in the manner of GPT-4, Llama, Qwen, DeepSeek and Meerkat, made from parts.

None is a published one: each part is written here after what such models write, and a seed says
which parts a chain is made of. They weigh every option, take things back, name other cases and
restate the options, so that much of a chain reads like an answer and one place is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import NamedTuple


class Case(NamedTuple):
    """A question: what is found, and each option with a remark on it."""

    finding: str
    options: dict[str, str]  # text -> why (or why not)
    gold: int


CASES = [
    Case(
        "A 23-year-old man is confused; his urine holds envelope-shaped crystals",
        {
            "Methanol": "it damages the retina and leaves no crystals",
            "Ethylene glycol": "its metabolite oxalate forms such crystals",
            "Ethanol": "it does not explain the wide anion gap",
            "Isopropyl alcohol": "it causes ketosis without acidosis",
        },
        1,
    ),
    Case(
        "A 68-year-old woman has sudden chest pain and ST elevation in leads II, III and aVF",
        {
            "Right coronary artery": "it supplies the inferior wall in most people",
            "Left anterior descending artery": "it supplies the anterior wall",
            "Left circumflex artery": "it supplies the lateral wall",
            "Left main coronary artery": "its occlusion is rarely survived",
        },
        0,
    ),
    Case(
        "A 35-year-old man has bloody diarrhoea a week after a course of clindamycin",
        {
            "E. coli O157:H7": "it follows undercooked beef and not antibiotics",
            "Shigella": "it spreads from person to person",
            "C. difficile": "clindamycin favours it, and toxins A and B cause the colitis",
            "Campylobacter jejuni": "it is found in poultry",
        },
        2,
    ),
    Case(
        "A newborn has a continuous machine-like murmur and bounding pulses",
        {
            "Give indomethacin": "it closes the duct by blocking prostaglandins",
            "Give prostaglandin E1": "it would keep the duct open",
            "Wait and see": "heart failure may develop if the duct stays open",
            "Give vitamin K": "it prevents bleeding and does nothing here",
        },
        0,
    ),
    Case(
        "A 54-year-old smoker has a cough, a lung mass and a sodium of 118 mmol/L",
        {
            "Small cell carcinoma": "it secretes ADH in a paraneoplastic way",
            "Squamous cell carcinoma": "it raises calcium through PTHrP",
            "Adenocarcinoma": "it is found at the edge of the lung",
            "Carcinoid tumour": "it would rather cause flushing",
            "Large cell carcinoma": "it is linked to gynaecomastia",
        },
        0,
    ),
    Case(
        "A vegan of 40 years has macrocytic anaemia and cannot feel vibration in the feet",
        {
            "Folate": "its lack spares the nerves",
            "Iron": "its lack makes cells small",
            "Vitamin B6": "its lack makes sideroblasts",
            "Vitamin B12": "its lack harms blood and dorsal columns alike",
        },
        3,
    ),
    Case(
        "A child has a barking cough and stridor; the film shows a steeple sign",
        {
            "Epiglottitis": "the film would show a thumb",
            "Croup": "parainfluenza narrows the airway below the glottis",
            "Bronchiolitis": "it makes infants wheeze",
            "Foreign body": "it comes without fever",
        },
        1,
    ),
    Case(
        "A man has had a tick bite and now shows a rash like a target",
        {
            "Ceftriaxone": "it is kept for late or severe disease",
            "Azithromycin": "it is second choice",
            "Doxycycline": "it is the first choice against B. burgdorferi",
            "Metronidazole": "it acts on anaerobes",
        },
        2,
    ),
    Case(
        "A 29-year-old woman has weight loss, tremor and a diffuse goitre",
        {
            "Hashimoto thyroiditis": "it slows the metabolism in the end",
            "Graves disease": "antibodies drive the receptor of TSH",
            "Subacute thyroiditis": "the gland would be painful",
            "Toxic adenoma": "one nodule would take up the tracer",
        },
        1,
    ),
    Case(
        "A patient with hepatitis B takes a drug that is a nucleoside analogue",
        {
            "Interferon alfa": "it is a protein",
            "Ribavirin": "it is used in hepatitis C",
            "Oseltamivir": "it acts on neuraminidase",
            "Entecavir": "it stops the polymerase of the virus",
        },
        3,
    ),
    Case(
        "In a trial 30 of 100 treated and 60 of 100 control patients relapse",
        {
            "Relative risk 0.5": "0.3 divided by 0.6 gives it",
            "Relative risk 2.0": "that is the inverse",
            "Odds ratio 0.5": "the odds ratio is 0.29",
            "Number needed to treat 30": "it would be 3.3",
        },
        0,
    ),
    Case(
        "A 60-year-old man falls, cannot look up and has a tremor at rest",
        {
            "Loss of neurons in the substantia nigra": "this is what Parkinson disease is",
            "Loss of neurons in the caudate nucleus": "it would cause chorea",
            "Lewy bodies in the cortex only": "dementia would come first",
            "Demyelination of the optic nerve": "it is a disease of the young",
        },
        0,
    ),
]


# How models go through options: 0 the letter, 1 the option, 2 a remark, 3 and 4 a verdict.
LAYOUTS = [
    "({0}) {1}: {2}.",
    "{0}. {1}: {2}.",
    "**{0}. {1}**\n{2}.",
    "- **{0}) {1}** - {2}.",
    "**Option {0}: {1}**\n- {2}.",
    "#### **({0}) {1}**\n- {2}.\n- {3}",
    "{0}) {1} - {2}. {3}",
    "* {1} ({0}): {2}.",
    "Option {0} ({1}) {3} Indeed, {2}.",
    "{0}. {1}\n   {2}.\n",
    "({0}) {1} {4} because {2}.",
    "Option {0} {4}, since {2}.",
    "$\\text{{{0}}}$. \\textbf{{{1}}}: {2}.",
    "| {0} | {1} | {2} |",
]
FITS = ["fits best.", "matches everything.", "is the most likely cause."]
FITS_NOT = [
    "is a common distractor.",
    "could be considered, but there is no sign of it.",
    "would be the answer if the course were longer.",
    "is not the best choice.",
    "is incorrect.",
    "is possible, but less likely.",
    "is not the answer.",
]


class Chain(NamedTuple):
    """A response, what it answers, and the options that it answers about."""

    text: str
    gold: str
    options: list[str]


class Writer:
    """Writes one chain: a way of opening, of going through options, of closing, all by chance."""

    def __init__(self, rng: Random, case: Case) -> None:
        self.rng, self.case = rng, case
        self.options = list(case.options)
        rng.shuffle(self.options)
        gold = list(case.options)[case.gold]
        self.gold = "ABCDE"[self.options.index(gold)]
        self.gold_text = gold

    def of(self, *ways: str) -> str:
        """One of the ways, filled in: G the gold letter, T its text, W and X a wrong one."""
        wrong = self.rng.choice([o for o in self.options if o != self.gold_text])
        letter = "ABCDE"[self.options.index(wrong)]
        filled = self.rng.choice(ways)
        for mark, value in {"«G»": self.gold, "«T»": self.gold_text, "«W»": letter, "«X»": wrong,
                            "«F»": self.case.finding}.items():  # fmt: skip
            filled = filled.replace(mark, value)
        return filled

    def opening(self) -> str:
        return self.of(
            "«F». Let us think about what this means.",
            "To answer this question, we need to identify what best explains the findings: «F».",
            "**Summary.** «F». The question asks for the best choice.",
            "Let's break this down step by step.\n\n1. **Key finding**: «F».\n2. **Task**: choose "
            "the best answer among the options.",
            "### Step 1: Understand the question\n«F».\n\n### Step 2: Weigh the options",
            "«F». If the history were different, the answer would be («W») «X», but it is not.",
            "Okay, so «F». Hmm, at first the answer seems to be «W», but let me check each one.",
            "Differential:\n1. «X»\n2. «T»\n3. Something that is not offered",
        )

    def headed(self) -> str:
        return self.of(
            "Let's evaluate each option:", "Let's analyze the answer choices:", "Options:",
            "Now, consider each option in turn:", "Here is why each answer is right or wrong:",
            "**Evaluation of the options:**", "Going through them:", "#### Option analysis",
            "Answer choices:", "Which answer is best?",
        )  # fmt: skip

    def weighed(self) -> str:
        """Each option with a remark, in one of the layouts that models use."""
        layout = self.rng.choice(LAYOUTS)
        lines = []
        for letter, option in zip("ABCDE", self.options, strict=False):
            right = option == self.gold_text
            verdict = self.rng.choice(FITS if right else FITS_NOT)
            called = "is correct" if right else "is incorrect"
            lines.append(layout.format(letter, option, self.case.options[option], verdict, called))
        return self.rng.choice(["\n", "\n\n"]).join(lines)

    def doubt(self) -> str:
        return self.of(
            "", "", "", "One may think that the answer is («W»), but that is wrong.",
            "A common mistake is to choose «W».", "At first sight, «W» could be the answer.",
            "So it is between «W» and «G».", "Is the answer «W»? No.",
            "If she were pregnant, the answer would be «W».", "Option «W» is tempting.",
            "«X» is the second best answer.", "We exclude «W».", "The other one, «W», is wrong.",
            "It is not «W».", "Could it be «W»? Let me double-check.", "I would not choose «W».",
        )  # fmt: skip

    def closing(self) -> str:
        return self.of(
            "Therefore, the answer is («G») «T».", "Therefore, the answer is («G»).",
            "**Answer: «G». «T»**", "The correct answer is **«G»**.", "Answer: «G»",
            "The correct answer is:\n\n**«G») «T»**", "### Final Answer\n**«G». «T»**",
            "**Final Answer:** $\\boxed{«G»}$", "\\boxed{«G»}", "I choose \\boxed{«G»}.",
            "The best option is «G».", "Thus, the correct option is «G», «T».", "«G»", "**«G»**",
            "Hence, «T» is the correct answer.", "So, option «G» is the best answer.",
            "Based on all this, the most appropriate answer is «G»: «T».", "Therefore, «G».",
            "I would go with «G».", "```json\n{\"answer\": \"«G»\"}\n```", "Final answer: («G»)",
            "Correct Answer - «G»", "All in all, the answer is option «G», as «W» does not fit.",
        )  # fmt: skip

    def after(self) -> str:
        return self.of(
            "", "", "", "", "\n\nI hope this helps!", "\n\nNote: this is no medical advice.",
            "\n\nIf the patient did not respond, «X» would be considered.",
            "\n\nThe other options are wrong: «W» does not fit.",
            "\n\nHad the question asked for the second best choice, the answer would be «W».",
        )  # fmt: skip

    def prose(self) -> str:
        closing = self.closing()
        parts = [self.opening(), self.headed(), self.weighed(), self.doubt(), closing]
        if self.rng.random() < 0.2:
            del parts[1]
        bare = closing.strip("*") == self.gold  # the parser reads that as a last line only
        return "\n\n".join(filter(None, parts)) + ("" if bare else self.after())

    def meerkat(self) -> str:
        named = "\n\n".join(
            f"({letter}) {option} is mentioned since {self.case.options[option]}."
            for letter, option in zip("ABCDE", self.options, strict=False)
        )
        return f"{self.opening()}\n\n{named}\n\n{self.of('Therefore, the answer is («G») «T».')}"

    def answer_first(self) -> str:
        return self.of(
            "«G») «T»\n\nExplanation: ", "The answer is «G».\n\n", "**«G». «T»**\n\n"
        ) + (f"{self.opening()}\n\n{self.weighed()}")

    def paragraph(self) -> str:
        remarks = []
        for letter, option in zip("ABCDE", self.options, strict=False):
            opener, verdict = self.rng.choice(
                [("Option", "is well supported"), ("As for", "it fits")]
                if option == self.gold_text
                else [("Option", "is a possibility"), ("Choice", "is best excluded"),
                      ("As for", "it is not likely"), ("Answer", "is not supported")]
            )  # fmt: skip
            remark = self.case.options[option]
            remarks.append(f"{opener} {letter}, {option.lower()}, {verdict} since {remark}.")
        ending = self.of(
            "Therefore, among A through D, the answer is «G».", "Thus, the best answer is «G».",
            "Therefore, the answer choice is «G». «T».", "So the answer is («G») «T».",
            "This makes «T» the most likely cause. The answer is «G»: «T».",
            "Hence the correct option is «G», «T», rather than «W».", "I would choose «G».",
        )  # fmt: skip
        return " ".join([self.opening(), *remarks, self.doubt(), ending])

    def thinking(self) -> str:
        opened, closed = self.rng.choice(
            [("<think>", "</think>"), ("## Thinking", "## Final Response"),
             ("<|im_start|>think", "<|im_start|>answer"), ("<thinking>", "</thinking>")]
        )  # fmt: skip
        thought = self.of("So the answer is «W». Wait, that is not it.", "The answer is «W»?", "")
        inside = f"{self.opening()}\n\n{self.weighed()}\n\n{thought}"
        return f"{opened}\n{inside}\n\n{closed}\n\n{self.closing()}"

    def as_json(self) -> str:
        thought = f"{self.opening()} {self.doubt()}\n{self.weighed()}".replace("**", "")
        value = self.of("«G»", "«G»", "«G». «T»", "«G») «T»", "(«G»)", "«T»")
        key = self.rng.choice(
            ["answer_choice", "answer", "final_answer", "Answer", "answer_letter"]
        )
        fields = [("step_by_step_thinking", thought), (key, value), ("confidence", "0.9")]
        if self.rng.random() < 0.2:
            fields[0], fields[1] = fields[1], fields[0]
        text = json.dumps(dict(fields), indent=self.rng.choice([None, 2]), ensure_ascii=False)
        if self.rng.random() < 0.3:
            text = text.replace("\\n", "\n")  # as models break JSON
        fence = self.rng.random() < 0.4
        return f"Here is my answer:\n```json\n{text}\n```" if fence else text


STYLES: dict[str, Callable[[Writer], str]] = {
    "prose": Writer.prose,
    "paragraph": Writer.paragraph,
    "meerkat": Writer.meerkat,
    "answer first": Writer.answer_first,
    "thinking": Writer.thinking,
    "json": Writer.as_json,
}


def chain(seed: int, style: str) -> Chain:
    """The chain of a seed in a style; the same seed is the same chain."""
    rng = Random(f"{style} {seed}")
    writer = Writer(rng, rng.choice(CASES))
    return Chain(STYLES[style](writer), writer.gold, writer.options)
