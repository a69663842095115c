"""Lines of text as a detector cuts them out of pages: single words to long lines, several looks, in batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpi_agent.samples.drawing import FACES, Face, text_width, write
from hpi_agent.samples.pages import grained
from hpi_agent.samples.texts import BILL, HEADINGS, LONG_LINES, SENTENCES, WORDS


@dataclass(frozen=True)
class Line:
    """A picture of one line and what stands on it."""

    text: str
    picture: NDArray[np.uint8]
    """Red, green and blue, shape (height, width, 3)."""


def render_lines(seed: int) -> tuple[tuple[Line, ...], ...]:
    """Return the lines of several pages, the same for the same seed."""
    random_ = random.Random(f"{seed}/lines")  # noqa: S311 - layout
    headings = random_.sample(HEADINGS, 6)
    sentences = random_.sample(SENTENCES, 7)
    # In batches of six these make calls with six, five, three and one of them, each of another width.
    receipt = [*WORDS[:4], *(f"{name} {price}" for name, price in random_.sample(BILL, 4)), headings[0]]
    letter = [*headings[1:4], *sentences[:6]]
    notice = [*WORDS[4:], headings[4], sentences[6], headings[5]]
    minutes = [*LONG_LINES, "Minutes of 4 November"]
    pages = (receipt, letter, notice, minutes)
    return tuple(
        tuple(_render(text, random_, np.random.default_rng([seed, page, index])) for index, text in enumerate(texts))
        for page, texts in enumerate(pages)
    )


def batches(lines: Sequence[Line], size: int) -> list[tuple[Line, ...]]:
    """Return the lines of one page in batches, the narrow ones first, as PaddleX feeds its recogniser."""
    ordered = sorted(lines, key=lambda line: line.picture.shape[1] / line.picture.shape[0])
    return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def _render(text: str, random_: random.Random, generator: np.random.Generator) -> Line:
    from PIL import Image, ImageDraw

    face: Face = random_.choice(FACES)
    size = random_.randint(22, 40)
    paper, ink = _colours(random_)
    margin = random_.randint(3, 6)
    canvas = Image.new("RGB", (text_width(text, face, size) + 2 * margin, round(size * 1.25) + 2), paper)
    write(ImageDraw.Draw(canvas), (margin, 0), text, face, size, ink)
    return Line(text, grained(np.asarray(canvas), random_.choice((0.0, 0.0, 4.0, 9.0)), generator))


def _colours(random_: random.Random) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    light = random_.randint(225, 255)
    dark = random_.randint(10, 70)
    paper, ink = (light, light, light - random_.randint(0, 14)), (dark, dark, dark + random_.randint(0, 40))
    # One line in eight is light on dark, as buttons and signs are.
    return (ink, paper) if random_.random() < 1 / 8 else (paper, ink)
