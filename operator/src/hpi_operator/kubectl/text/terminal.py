"""Lines on a terminal: columns that stand under one another, colour where it helps, nothing that a terminal obeys.

Our own, because the library that draws tables for the agent's commands is no part of the operator's image, and this is
all that is needed of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Colour = Literal["", "red", "yellow", "green", "dim", "bold"]

_CODES: Final = {"red": "31", "yellow": "33", "green": "32", "dim": "2", "bold": "1"}
_BRANCHES: Final = re.compile(r"(?:[│├└]─? +|[|`]-? +| +)+")
_BLANK: Final = re.compile(r"\s+")
GAP: Final = "  "
MIN_LAST_COLUMN: Final = 20
"""A last column is never cut to less than that: then the line is longer than the terminal."""
USUAL_WIDTH: Final = 100
"""Text is folded at so many characters where nobody says how wide the terminal is."""


@dataclass(frozen=True)
class Style:
    """How lines are written."""

    width: int | None = None
    """Characters of a line; a last column that is longer is cut. None: nothing is cut, as behind a pipe."""
    colour: bool = False
    """Whether codes of colour are written."""
    ascii: bool = False
    """Whether trees are drawn without box characters."""

    def paint(self, text: str, colour: Colour) -> str:
        """Return a text in a colour."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and colour and text else text


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    colour: Colour = ""
    right: bool = False
    """Whether it stands at the right of its column, as numbers do."""


Row = Sequence[Cell | str]


def clean(text: str) -> str:
    """Return a text on one line that no terminal obeys: messages come from containers, and so from anybody."""
    return "".join(_visible(sign) for sign in _BLANK.sub(" ", text).strip())


def _visible(sign: str) -> str:
    # Cc, Cf and the rest of C: control codes, directions of writing, characters that no font has.
    if unicodedata.category(sign)[0] == "C":
        return sign.encode("unicode_escape", "backslashreplace").decode("ascii")
    return sign


def table(header: Sequence[str], rows: Iterable[Row], style: Style) -> list[str]:
    """Return the lines of a table; columns without any content are left out, and the last one may be cut.

    Args:
        header: Headings.
        rows: Cells, as many as headings each.
        style: How lines are written.
    """
    cells = [[_cell(one) for one in row] for row in rows]
    kept = [column for column in range(len(header)) if any(row[column].text for row in cells)]
    if not kept:
        return []
    lines = [[_cell(header[column]) for column in kept], *([row[column] for column in kept] for row in cells)]
    widths = [max(len(line[place].text) for line in lines) for place in range(len(kept))]
    before = sum(widths[:-1]) + len(GAP) * (len(kept) - 1)
    if style.width is not None:
        widths[-1] = min(widths[-1], max(MIN_LAST_COLUMN, style.width - before))
    right = [any(row[column].right for row in cells) for column in kept]
    return [_line(line, widths, right, style) for line in lines]


def _cell(one: Cell | str) -> Cell:
    cell = one if isinstance(one, Cell) else Cell(one)
    # The branches of a tree keep their blanks.
    branches = _BRANCHES.match(cell.text)
    drawn = branches[0] if branches is not None else ""
    return Cell(drawn + clean(cell.text[len(drawn) :]), cell.colour, cell.right)


def _line(cells: Sequence[Cell], widths: Sequence[int], right: Sequence[bool], style: Style) -> str:
    written = []
    for place, cell in enumerate(cells):
        text = cut(cell.text, widths[place])
        pad = " " * (widths[place] - len(text))
        painted = style.paint(text, cell.colour)
        written.append(pad + painted if right[place] else painted + pad)
    return GAP.join(written).rstrip()


def cut(text: str, width: int) -> str:
    """Return the beginning of a text that is too long, with a sign of it."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def folded(text: str, style: Style, indent: str = "", first: str | None = None) -> Iterator[str]:
    """Yield a text in lines that fit, broken between words.

    Args:
        text: Any text.
        style: How lines are written.
        indent: What stands before each line.
        first: What stands before the first line instead.
    """
    room = max(MIN_LAST_COLUMN, (style.width or USUAL_WIDTH) - len(indent))
    line, lead = "", indent if first is None else first
    for word in clean(text).split(" "):
        if line and len(line) + 1 + len(word) > room:
            yield lead + line
            line, lead = word, indent
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield lead + line
