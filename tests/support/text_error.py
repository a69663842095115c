"""Character error: how much of a page's text a recogniser got wrong.

Definition. Every recognised line is given to the reference line whose box holds its centre (`assign`); lines given to
the same reference line are joined from left to right with one space. The error of a page is

    edits / characters,   edits = sum of Levenshtein distances over reference lines + length of every stray line

where `characters` counts the reference. A reference line that nothing was given to costs its whole length, a stray line
(text where there is none) its own. Runs of white space count as one space, since a box says nothing about their width;
nothing else is normalised: case, punctuation and look-alike characters count.

The order in which a recogniser lists its lines does not matter, so pages with columns are judged by what was read
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
"""Corners of a line of text in reading direction: upper left, upper right, lower right, lower left. Unit: pixels, x to
the right, y down."""

SIDE_TOLERANCE_HEIGHTS = 1.0
"""How far left or right of a reference box a centre may lie. Unit: heights of that box."""


@dataclass(frozen=True)
class TextLine:
    """One line of text and where it stands."""

    text: str
    quad: Quad

    @property
    def centre(self) -> Point:
        """Mean of the four corners."""
        return sum(x for x, _ in self.quad) / 4, sum(y for _, y in self.quad) / 4


@dataclass(frozen=True)
class CharacterError:
    """Edits needed to turn what was read into the reference, and the characters of the reference."""

    edits: int
    characters: int

    @property
    def rate(self) -> float:
        """Edits per reference character: 0 is perfect, stray text can bring it above 1."""
        return self.edits / self.characters

    def __add__(self, other: CharacterError) -> CharacterError:
        return CharacterError(self.edits + other.edits, self.characters + other.characters)


def character_error(reference: Sequence[TextLine], recognised: Sequence[TextLine]) -> CharacterError:
    """Return the character error of one page; see the module for the definition.

    Raises:
        ValueError: The reference has no characters, so no rate exists.
    """
    characters = sum(len(squeeze(line.text)) for line in reference)
    if not characters:
        raise ValueError("the reference must have at least one character")
    given: list[list[TextLine]] = [[] for _ in reference]
    edits = 0
    for line in recognised:
        index = assign(line, reference)
        if index is None:
            edits += len(squeeze(line.text))
        else:
            given[index].append(line)
    for wanted, found in zip(reference, given, strict=True):
        edits += Levenshtein.distance(squeeze(wanted.text), joined(found))
    return CharacterError(edits, characters)


def assign(line: TextLine, reference: Sequence[TextLine]) -> int | None:
    """Return the index of the reference line that a recognised line belongs to, or None for a stray line.

    It is the one whose middle axis passes nearest to the centre of the recognised line: at most half a height above or
    below it, and at most `SIDE_TOLERANCE_HEIGHTS` beside its ends. An axis follows a slanted line, an upright box would
    not.
    """
    distances = [_distance(line.centre, candidate.quad) for candidate in reference]
    fitting = [(distance, index) for index, distance in enumerate(distances) if distance is not None]
    return min(fitting)[1] if fitting else None


def _distance(point: Point, quad: Quad) -> float | None:
    (left_x, top_left), (right_x, top_right), (_, bottom_right), (_, bottom_left) = quad
    height = (bottom_left + bottom_right - top_left - top_right) / 2
    x, y = point
    if not left_x - SIDE_TOLERANCE_HEIGHTS * height <= x <= right_x + SIDE_TOLERANCE_HEIGHTS * height:
        return None
    start, end = (top_left + bottom_left) / 2, (top_right + bottom_right) / 2
    axis = start + (end - start) * (x - left_x) / (right_x - left_x)
    distance = abs(y - axis)
    return distance if distance <= height / 2 else None


def joined(lines: Sequence[TextLine]) -> str:
    """Return the text of several boxes on one line, from left to right, with one space between them."""
    return squeeze(" ".join(line.text for line in sorted(lines, key=lambda line: line.centre)))


def squeeze(text: str) -> str:
    """Return a text without outer white space and with every inner run of it as one space."""
    return " ".join(text.split())
