"""The one parser of `<reasoning>` and `<answer>` tags: rewards, judges and evaluation all use it.

Reward code found in the wild parses tags with `re.match` without DOTALL (multi-line reasoning is
never found) or with `^...$` under MULTILINE (trailing junk passes). Here two readings exist and
every caller says which it wants:

- strict, `parse_tags`: the whole response is exactly the layout that the prompt asks for;
- tolerant, everything else: tags in any case, with spaces inside (`</ Answer >`), repeated, nested
  or never closed, because a wrong layout must not hide a right answer.
"""

from __future__ import annotations

import re

EXPECTED = ["reasoning", "/reasoning", "answer", "/answer"]

# How models mark what they think before they answer: where it begins, where the answer does.
_THINKING = re.compile(
    r"(?P<open><\s*think(?:ing)?\s*>|<\|im_start\|>think\b|<\|channel\|>analysis\b|^## Thinking\b|"
    r"<unused94>)"
    r"|<\s*/\s*think(?:ing)?\s*>|<\|im_start\|>answer\b|<\|channel\|>final\b(?:<\|message\|>)?|"
    r"^## Final (?:Response|Answer)\b|<unused95>",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(r"<\s*/?\s*(?:reasoning|answer)\s*>", re.IGNORECASE)
_LAYOUT = re.compile(r"\s*<reasoning>(.*)</reasoning>\s*<answer>(.*)</answer>\s*", re.DOTALL)


def parse_tags(response: str) -> tuple[str, str] | None:
    """Strict: (reasoning, answer) if the response is exactly the two blocks, else None.

    Lower-case tags, each once, in order, nothing but whitespace around; contents may be blank.

    >>> parse_tags("<reasoning>\\nSo.\\n</reasoning>\\n<answer>\\nB\\n</answer>")
    ('So.', 'B')
    >>> parse_tags("<reasoning>So.</reasoning><answer>B</answer> Hope it helps!") is None
    True
    """
    match = tag_sequence(response) == EXPECTED and _LAYOUT.fullmatch(response)
    return (match[1].strip(), match[2].strip()) if match else None


def tag_sequence(response: str) -> list[str]:
    """Every tag in order of appearance, spelled as in `EXPECTED`.

    >>> tag_sequence("<Reasoning>x</reasoning> B</answer>")
    ['reasoning', '/reasoning', '/answer']
    """
    return [re.sub(r"[<>\s]", "", tag).lower() for tag in _TAG.findall(response)]


def strip_tags(response: str) -> str:
    """The whole response without its tags; what stood on both sides of a tag is on two lines.

    >>> strip_tags("<reasoning>\\nSo.\\n</reasoning>\\n<answer>B</answer>")
    'So.\\nB'
    """
    pieces = (piece.strip() for piece in _TAG.split(response))
    return "\n".join(piece for piece in pieces if piece)


def extract_block(response: str, name: str) -> str | None:
    """Tolerant: the content of block `name` ("reasoning" or "answer"), None if it never opens.

    The last closed block counts, the innermost when nested: models correct themselves, and talk
    about tags in their reasoning. Without a closed one, the text from the last opening tag to the
    next tag or the end counts (the response was cut off, or the closing tag forgotten).

    >>> extract_block("<answer>A</answer> No: <ANSWER> B </ANSWER>", "answer")
    'B'
    >>> extract_block("<reasoning>So.<answer>B", "answer")
    'B'
    """
    opening = rf"<\s*{name}\s*>"
    closed = rf"{opening}((?:(?!{opening}).)*?)<\s*/\s*{name}\s*>"
    if blocks := re.findall(closed, response, re.DOTALL | re.IGNORECASE):
        return strip_tags(blocks[-1])
    _, *openings = re.split(opening, response, flags=re.IGNORECASE)
    return _TAG.split(openings[-1])[0].strip() if openings else None


def extract_answer(response: str, *, closed: bool = False) -> str | None:
    """The content of the answer block (see `extract_block`), None when no `<answer>` opens.

    With `closed`, an open block is none: what it holds may go on.
    """
    if closed and tag_sequence(response)[-1:] == ["answer"]:
        response = response[: list(_TAG.finditer(response))[-1].start()]
    return extract_block(response, "answer")


def without_thinking(response: str) -> str:
    """The response without its thinking block, also one that is never closed.

    >>> without_thinking("<think>Is it (A)?</think>\\n(B)")
    '\\n(B)'
    >>> without_thinking("<think>Is it (A)? The answer is")
    ''
    """
    marks = list(_THINKING.finditer(response))
    start, end = 0, len(response)
    for mark in marks:
        if mark["open"] is None:
            start, end = mark.end(), len(response)
        elif end == len(response):
            end = mark.start()
    return response[start:end]


def cut_off(response: str) -> bool:
    """Whether the response ends inside a thinking or reasoning block or an object of JSON.

    >>> cut_off("<reasoning>So."), cut_off("<reasoning>So.</reasoning> B")
    (True, False)
    """
    thinking = [mark["open"] for mark in _THINKING.finditer(response)][-1:]
    open_tag = any(thinking) or tag_sequence(response)[-1:] == ["reasoning"]
    return open_tag or response.count("{") > response.count("}")
