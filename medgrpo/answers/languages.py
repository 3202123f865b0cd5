"""How languages announce an answer, in one table: a further language is a further entry.

Simple-evals (github.com/openai/simple-evals) has a list of local words for "answer"; what is added
here is what takes an announcement back.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Language(NamedTuple):
    """The words of one language around an answer, as regular expressions without groups.

    They match in any case, and never inside a word of Latin letters.
    """

    answer: str  # announces one, with `is_` or a colon: "the correct answer"
    is_: str  # joins it to the answer: "is"
    so: str  # a bare letter or label may follow, and nothing else: "therefore", "I choose"
    right: str  # calls the option before it the answer: "is the correct answer"
    wrong: str  # takes the option before it back: "is not"
    other: str  # before `answer`: another is announced: "the wrong answer"
    or_: str  # joins a further answer: "or", "and"
    else_: str  # offers a further answer: "possibly A"
    if_: str  # makes a statement conditional, or not the writer's own: "if", "at first"
    because: str  # an explanation follows, in which letters claim nothing
    option: str  # may stand before a letter: "option (B)"


_ABOUT = r"(?:(?:,|\s+(?:to|for|in|that|here|therefore|among|from)\b)[^.:\n]{0,60}?)?"
_FEW = r"(?:\s+(?!n[oã]|non\b)\w+){0,4}?"  # words between "answer" and "is", but no negation
_SURELY = r"(?:therefore|thus|hence|indeed|clearly|definitely|(?:most )?(?:probably|likely)|simply)"
_SAY = (
    r"(?:choose|chose|select|selected|pick|picked|answer|say|guess|think|believe|conclude|opt for|"
    r"vote for|(?:go|going|went) (?:with|for))(?: that| it is| it's)*"
)

LANGUAGES = {
    "en": Language(
        answer=r"(?:answer(?:[ _](?:choice|option|letter))?|(?:correct|best|right|final|my|chosen)"
        rf" (?:option|choice|response|selection)){_ABOUT}",
        is_=rf"(?:is|was|(?:would|should|must|has to) be|remains)(?:,?\s*(?:{_SURELY}|the|:))*",
        so=r"therefore|thus|hence|so|consequently|in conclusion|ans\.?|it(?:'s| is| must be)|"
        r"(?:conclusion|decision|verdict|diagnosis|guess|option|choice|selection)(?: ?:| (?:is|was|"
        r"(?:would|should|must) be))|(?<![a-z] )(?:choose|select|pick|go with)|(?:I|we|let's)"
        rf"(?:'\w+| would| will| am| must| should)?(?: \w+ly)? {_SAY}",
        right=r"(?:is|was|(?:would|should|must) be|remains)(?: \w+ly| thus)*,? the (?:most \w+ |"
        r"single )?(?:correct|best|right|final|only)? ?(?:answer|choice|option)",
        wrong=r"(?:is|was|are|can be|would be)(?:n't| (?:not|wrong|incorrect|false|excluded|ruled|"
        r"unlikely|less|out))|(?:can|could|do|does)(?:not|n't| not)",
        other=r"wrong|incorrect|other|another|second|next|alternative|least|worst|false|first|"
        r"tempting|possible|potential|plausible|initial|which|what|each|every|any|no|not|neither",
        or_=r"or|and|either|versus|vs\.?",
        else_=r"possibly|perhaps|maybe|potentially|alternatively|otherwise|else|then|plus|with|"
        r"as well as|followed by",
        if_=r"if|unless|otherwise|else|assuming|suppose|provided|depending|depends|had|tempting|"
        r"initially|at first|(?:one|some|many|you|we) (?:may|might|could)",
        because=r"because|since|as|due|given|which|who|whose|that|where|while|whereas|for|with",
        option=r"option|choice|letter|answer",
    ),
    "zh": Language(
        answer=r"(?:答案|(?:正确|最佳|合适|恰当)的?选项|结论)[^，。：:；\n]{0,8}?",
        is_=r"(?:应该?|就|则)?(?:是|为|选)(?:选?项)?|(?=[A-J](?![a-z]))",
        so=r"(?<![不可])(?:应该?|故|只能|只)?选择?(?:答案)?|因此|所以|综上",
        right=r"(?:选项|项)?(?:就?是|为)(?:最佳|正确)的?(?:答案|选项)",
        wrong=r"(?:选?项)?(?:不|错|并不|并非|有误|应?排除)",
        other=r"错误的?|不正确的?|其他|另一个?",
        or_=r"或者?|和|与|及|以及|还是",
        else_=r"可能是?|也许|或许|否则|也可(?:能|以)?",
        if_=r"如果|若|假如|除非|否则|倘若|取决于",
        because=r"因为|由于|鉴于",
        option=r"选项|选择|选|答案",
    ),
    "es": Language(
        answer=rf"(?:respuesta|(?:opción|alternativa) (?:más )?(?:correcta|adecuada)){_FEW}",
        is_=r"(?:es|sería|debe(?:ría)? ser)(?: la opción| la letra| la)?",
        so=r"por (?:lo )?tanto|así que|entonces|en conclusión|(?:creo|pienso|diría) que(?: es)?|"
        r"elijo|escojo|selecciono",
        right=r"es la (?:respuesta|opción|alternativa)(?: más)? (?:correcta|adecuada)",
        wrong=r"no es|es incorrecta|es falsa|queda descartada",
        other=r"otra|incorrecta|no|segunda|posible|primera",
        or_=r"o|u|y|e",
        else_=r"posiblemente|quizás?|tal vez|alternativamente|si no|de lo contrario",
        if_=r"si|a menos que|salvo que|de lo contrario|suponiendo|depende",
        because=r"porque|ya que|dado|debido|pues|puesto|que",
        option=r"opción|letra|alternativa|respuesta",
    ),
    "de": Language(
        answer=rf"(?:Antwort(?:option|möglichkeit)?|Lösung){_FEW}",
        is_=r"(?:ist|lautet|wäre)(?: daher| somit| also| Option| die)*",
        so=r"daher|somit|folglich|ich (?:wähle|denke|glaube|nehme|tippe auf)",
        right=r"ist (?:daher |somit |also )?die (?:richtige|korrekte|beste) (?:Antwort|Option)",
        wrong=r"ist (?:nicht|falsch|ausgeschlossen|unwahrscheinlich)",
        other=r"falsche|andere|nächste|zweite|mögliche|keine|erste",
        or_=r"oder|und|bzw\.?|beziehungsweise",
        else_=r"möglicherweise|vielleicht|eventuell|alternativ|sonst|ansonsten|andernfalls",
        if_=r"wenn|falls|sofern|sonst|ansonsten|andernfalls|es sei denn",
        because=r"weil|da|denn|aufgrund|wegen|die|der|das",
        option=r"Option|Buchstabe|Antwort",
    ),
    "fr": Language(
        answer=rf"(?:réponse|(?:bonne|meilleure) option|option correcte){_FEW}",
        is_=r"(?:est|serait|doit être)(?: donc| la| l'option)*",
        so=r"donc|par conséquent|ainsi|en conclusion|je (?:choisis|pense que|crois que|dirais)"
        r"(?: c'est)?",
        right=r"est (?:donc )?la (?:bonne|meilleure) (?:réponse|option)|est la réponse correcte",
        wrong=r"n'est|est (?:incorrecte?|fausse|exclue|peu)",
        other=r"mauvaise|autre|fausse|incorrecte|seconde|possible|première|aucune",
        or_=r"ou|et",
        else_=r"peut-être|éventuellement|possiblement|alternativement|sinon|autrement",
        if_=r"si|s'il|à moins|sinon|en supposant|dépend",
        because=r"car|parce|puisque|étant|en raison|qui|comme",
        option=r"option|lettre|réponse|choix|proposition",
    ),
    "pt": Language(
        answer=rf"(?:resposta|(?:opção|alternativa) (?:mais )?(?:correta|adequada)){_FEW}",
        is_=r"(?:é|seria|deve ser)(?: portanto| a opção| a letra| a alternativa| a)?",
        so=r"portanto|logo|assim|em conclusão|(?:acho|penso|acredito|creio) que(?: é)?|escolho|"
        r"seleciono",
        right=r"é a (?:resposta|opção|alternativa)(?: mais)? (?:correta|adequada)",
        wrong=r"não é|é incorreta|é falsa|está errada",
        other=r"outra|incorreta|errada|não|segunda|possível|primeira",
        or_=r"ou|e",
        else_=r"possivelmente|talvez|alternativamente|senão|caso contrário",
        if_=r"se(?! (?:trata|deve))|a menos que|caso|senão|supondo|depende",
        because=r"porque|pois|já que|devido|dado|visto|que",
        option=r"opção|letra|alternativa|resposta",
    ),
    "it": Language(
        answer=rf"(?:risposta|(?:opzione|alternativa) (?:più )?(?:corretta|giusta)){_FEW}",
        is_=r"(?:è|sarebbe|deve essere)(?: quindi| la| l'opzione)*",
        so=r"quindi|pertanto|dunque|perciò|in conclusione|(?:penso|credo)(?: che)?(?: sia)?|scelgo|"
        r"seleziono",
        right=r"è (?:quindi )?la (?:risposta|opzione)(?: più)? (?:corretta|giusta|adeguata)",
        wrong=r"non è|è sbagliata|è errata|è falsa",
        other=r"altra|sbagliata|errata|seconda|possibile|prima|nessuna",
        or_=r"o|oppure|e|ed",
        else_=r"forse|possibilmente|eventualmente|in alternativa|altrimenti",
        if_=r"se(?! (?:tratta|trata|debe|deve|puede))|a meno che|altrimenti|supponendo|dipende",
        because=r"perché|poiché|dato|dovuto|in quanto|che",
        option=r"opzione|lettera|alternativa|risposta",
    ),
}

EDGE = r"(?!(?<=[a-zà-ɏ0-9_])[a-zà-ɏ0-9_])"  # not inside a Latin word; "答案是B" has three


def any_of(*fields: str) -> str:
    """The fields' words of all languages, whole words only, as one alternative.

    >>> import re
    >>> re.findall(any_of("or_"), "A oder B, A o B, A或B")
    ['oder', 'o', '或']
    """
    spoken = LANGUAGES.values()
    return (
        EDGE + f"(?:{'|'.join(getattr(one, field) for field in fields for one in spoken)})" + EDGE
    )


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, in any case and with line ends as ends."""
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)
