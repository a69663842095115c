"""Made-up English prose and code for rendered pages, from a committed word list and a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS: Final = _words(
    """
    answer archive autumn balance basket bridge cabinet candle carpet ceiling chapter circle climate coast
    column compass corner cottage country courier cradle current curtain daughter dealer device diary district
    doctor drawer engine evening fabric factory farmer feather figure forest garden glacier hammer harbour
    harvest horizon island jacket journal journey kitchen ladder language lantern letter library machine margin
    market measure meadow mirror morning mountain needle number orchard package painter pencil picture pilot
    planet pocket portrait printer quarter question railway reader record region report river sample season
    shadow signal silver sister square station storm stranger summer surface table teacher theatre ticket
    traffic tunnel valley vessel village visitor voyage wagon weather window winter witness worker workshop yard
    zebra
    """
)
ADJECTIVES: Final = _words(
    """
    ancient blue brief bright broken careful central clean common complete curious deep distant dry early empty
    exact famous fine formal fresh gentle golden green grey heavy hollow honest large late light little local
    long loud low modern narrow new northern old open ordinary pale patient plain quiet rapid rough round second
    sharp short simple slow small soft solid southern square steady strange strong sudden tall thin warm weak
    western white wide wooden young
    """
)
VERBS: Final = _words(
    """
    answers believes borrows brings builds carries catches changes checks closes compares counts covers crosses
    describes draws enters explains finds follows forgets gathers guards holds improves joins keeps learns
    leaves listens lists measures mends moves names notices offers opens orders paints passes plants prints
    protects proves reads receives records remembers repairs repeats returns sells shows signs sorts studies
    teaches touches turns visits watches weighs writes
    """
)
ADVERBS: Final = _words(
    """
    again always carefully early gladly later never nearly often quickly quietly rarely slowly soon twice
    """
)
PREPOSITIONS: Final = _words(
    """
    above across after along before behind below beside between from inside near over past through under
    """
)
MONTHS: Final = _words(
    """
    January February March April May June July August September October November December
    """
)
UNITS: Final = ("km", "kg", "MB", "ms", "kWh", "mm", "GB/s", "rpm", "%")
IDENTIFIERS: Final = _words(
    """
    batch boxes buffer coins count edges frame height index labels lengths limit markers mask nodes offset page
    pixels queue rate result rows scale scores shape size state total values weights width
    """
)


def sentences(random_: random.Random) -> Iterator[str]:
    """Yield sentences without end; the same state of the generator gives the same sentences."""
    while True:
        text = random_.choice(_SENTENCES)(random_)
        yield text[0].upper() + text[1:]


def headings(random_: random.Random) -> Iterator[str]:
    """Yield short headings without end, some of them numbered."""
    while True:
        title = f"{random_.choice(ADJECTIVES)} {random_.choice(NOUNS)}".capitalize()
        yield f"{random_.randint(1, 9)}.{random_.randint(1, 9)} {title}" if random_.random() < 0.5 else title


def code_lines(random_: random.Random) -> Iterator[str]:
    """Yield lines that look like Python, without end and without indentation."""
    while True:
        yield random_.choice(_CODE)(random_)


def _noun_phrase(random_: random.Random) -> str:
    article = random_.choice(("the", "the", "every", "this", "no", "their", "our"))
    adjective = f"{random_.choice(ADJECTIVES)} " if random_.random() < 0.5 else ""
    return f"{article} {adjective}{random_.choice(NOUNS)}"


def _clause(random_: random.Random) -> str:
    adverb = f" {random_.choice(ADVERBS)}" if random_.random() < 0.3 else ""
    return f"{_noun_phrase(random_)} {random_.choice(VERBS)} {_noun_phrase(random_)}{adverb}"


def _place(random_: random.Random) -> str:
    return f"{random_.choice(PREPOSITIONS)} {_noun_phrase(random_)}"


def _thousands(random_: random.Random) -> str:
    return f"{random_.randint(1_000, 9_999_999):,}"


def _number(random_: random.Random) -> str:
    return f"{random_.randint(1, 9_999) / 10 ** random_.randint(1, 2):.2f} {random_.choice(UNITS)}"


def _date(random_: random.Random) -> str:
    return f"{random_.randint(1, 28)} {random_.choice(MONTHS)} {random_.randint(1790, 2026)}"


_SENTENCES: Final[Sequence[Callable[[random.Random], str]]] = (
    lambda r: f"{_clause(r)} {_place(r)}.",
    lambda r: f"{_clause(r)}, and {_clause(r)}.",
    lambda r: f"{_clause(r)} {_place(r)}, but {_clause(r)}.",
    lambda r: f"why {r.choice(VERBS)} {_noun_phrase(r)} {_place(r)}?",
    lambda r: f'"{_clause(r).capitalize()}!" said {_noun_phrase(r)}.',
    lambda r: f"on {_date(r)} {_clause(r)}.",
    lambda r: f"{_noun_phrase(r)} ({_number(r)}) {r.choice(VERBS)} {_noun_phrase(r)}.",
    lambda r: f"{_clause(r)}: {_thousands(r)} against {_thousands(r)}, or {_number(r)}.",
    lambda r: f"{_clause(r)}; see pages {r.randint(2, 99)}-{r.randint(100, 480)} and Figure {r.randint(1, 40)}.",
    lambda r: f"write to {r.choice(NOUNS)}@{r.choice(NOUNS)}.org {_place(r)}.",
)

_CODE: Final[Sequence[Callable[[random.Random], str]]] = (
    lambda r: f"{_name(r)} = np.zeros_like({_name(r)})",
    lambda r: f"for {_name(r)} in range({r.randint(2, 640)}):",
    lambda r: f"if {_name(r)}[{r.randint(0, 9)}] >= {r.randint(10, 9_999)}:",
    lambda r: f"return {_name(r)} * {r.randint(1, 99) / 100} + {_name(r)}",
    lambda r: f'print("{r.choice(NOUNS)}", {_name(r)})',
    lambda r: f"{_name(r)}_{_name(r)} = max({_name(r)}, {r.randint(1, 255)})",
    lambda r: f"assert {_name(r)}.shape == ({r.randint(1, 9)}, {r.randint(10, 99)})",
    lambda r: f">>> {_name(r)}[{_name(r)} < {r.randint(20, 60)}] = {r.randint(1, 9)}",
)


def _name(random_: random.Random) -> str:
    return random_.choice(IDENTIFIERS)
