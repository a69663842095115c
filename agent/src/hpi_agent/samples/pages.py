"""Pages as an OCR pipeline meets them: a small scan, a letter, a screenshot, a receipt."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.samples.drawing import text_width, write
from hpi_agent.samples.texts import BILL, HEADINGS, MENU, SENTENCES, TABLE

if TYPE_CHECKING:
    from PIL import ImageDraw

Draw = Callable[["ImageDraw.ImageDraw", int, int, random.Random], int]
"""Draws a page of a width and a height and returns how many pieces of text stand on it."""


@dataclass(frozen=True)
class Page:
    """A picture and how many pieces of text stand on it, each in a place of its own."""

    name: str
    picture: NDArray[np.uint8]
    """Red, green and blue, shape (height, width, 3)."""
    texts: int


def render_pages(seed: int) -> tuple[Page, ...]:
    """Return one page of each kind, the same for the same seed."""
    return tuple(_render(kind, seed) for kind in range(len(_KINDS)))


def _render(kind: int, seed: int) -> Page:
    from PIL import Image, ImageDraw

    name, (width, height), paper, grain, degrees, draw = _KINDS[kind]
    canvas = Image.new("RGB", (width, height), paper)
    texts = draw(ImageDraw.Draw(canvas), width, height, random.Random(f"{seed}/{kind}"))  # noqa: S311 - layout
    if degrees:
        canvas = canvas.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=paper)
    return Page(name, grained(np.asarray(canvas), grain, np.random.default_rng([seed, kind])), texts)


def grained(picture: NDArray[np.uint8], deviation: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture with the noise of a camera or scanner, in grey levels."""
    if not deviation:
        return picture
    noise = generator.normal(0.0, deviation, (*picture.shape[:2], 1)).astype(np.float32)
    noisy: NDArray[np.uint8] = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
    return noisy


def _small_scan(draw: ImageDraw.ImageDraw, width: int, height: int, random_: random.Random) -> int:
    write(draw, (8, 8), random_.choice(HEADINGS), "Bold", 20, (30, 30, 30))
    return 1 + _paragraph(draw, (8, 42), width - 16, height - 12, 15, random_)


def _letter(draw: ImageDraw.ImageDraw, width: int, height: int, random_: random.Random) -> int:
    write(draw, (70, 60), "Harrow Hill, 28 February", "Regular", 17, (40, 40, 40))
    texts, top = 1, 120
    for heading in random_.sample(HEADINGS, 3):
        write(draw, (70, top), heading, "Bold", 25, (20, 20, 60))
        lines = _paragraph(draw, (70, top + 42), width - 140, top + 240, 18, random_)
        texts, top = texts + 1 + lines, top + 42 + lines * 28 + 24
    return texts + _table(draw, (70, top), (width - 140) // 4, 18)


def _screenshot(draw: ImageDraw.ImageDraw, width: int, height: int, random_: random.Random) -> int:
    draw.rectangle((0, 0, width, 40), fill=(38, 50, 68))
    left = 20
    for entry in MENU:
        left += write(draw, (left, 8), entry, "Regular", 18, (240, 240, 240)) + 34
    draw.rectangle((0, 41, 250, height), fill=(226, 230, 236))
    for row, heading in enumerate(random_.sample(HEADINGS, 4)):
        write(draw, (18, 70 + 46 * row), heading, "Semibold", 17, (52, 70, 110))
    lines = _paragraph(draw, (290, 70), width - 330, 330, 19, random_)
    cells = _table(draw, (290, 360), 220, 18)
    draw.rectangle((width - 180, height - 70, width - 40, height - 26), fill=(24, 110, 72))
    write(draw, (width - 152, height - 62), "Save changes", "Semibold", 16, (255, 255, 255))
    return len(MENU) + 4 + lines + cells + 1


def _receipt(draw: ImageDraw.ImageDraw, width: int, height: int, random_: random.Random) -> int:
    for row, line in enumerate(("CORNER SHOP", "12 Station Road", "Receipt 20417")):
        size = 26 if row == 0 else 17
        write(draw, ((width - text_width(line, "Bold", size)) // 2, 18 + 34 * row), line, "Bold", size, (25, 25, 25))
    goods = random_.sample(BILL, 7)
    total = sum(float(price) for _, price in goods)
    for row, (name, price) in enumerate((*goods, ("Total", f"{total:.2f}"))):
        top = 150 + 42 * row
        write(draw, (24, top), name, "Regular", 20, (30, 30, 30))
        right = width - 24 - text_width(price, "Regular", 20)
        write(draw, (right, top), price, "Regular", 20, (30, 30, 30))
    write(draw, (24, height - 56), "Paid by card, 6 May 17:22", "Regular", 17, (60, 60, 60))
    return 3 + 2 * (len(goods) + 1) + 1


_KINDS: Final[tuple[tuple[str, tuple[int, int], tuple[int, int, int], float, float, Draw], ...]] = (
    ("small scan", (420, 210), (236, 234, 228), 5.0, 0.5, _small_scan),
    ("letter", (827, 1170), (252, 252, 250), 0.0, 0.0, _letter),
    ("screenshot", (1280, 720), (255, 255, 255), 0.0, 0.0, _screenshot),
    ("receipt", (368, 560), (243, 241, 233), 8.0, -0.7, _receipt),
)
"""Name; width and height; paper; noise; rotation in degrees; what is drawn. The letter is A4 at 100 dots per inch."""


def _paragraph(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], width: int, bottom: int, size: int, random_: random.Random
) -> int:
    """Fill a column with sentences down to a bottom and return the number of lines."""
    left, top = place
    lines = 0
    for line in wrapped(random_, size, width):
        if top + size > bottom:
            break
        write(draw, (left, top), line, "Regular", size, (35, 35, 35))
        top += round(size * 1.55)
        lines += 1
    return lines


def wrapped(random_: random.Random, size: int, width: int) -> Iterator[str]:
    """Yield lines of sentences that fit a width, without end."""
    line = ""
    while True:
        for word in random_.choice(SENTENCES).split():
            longer = f"{line} {word}".strip()
            if text_width(longer, "Regular", size) > width:
                yield line
                line = word
            else:
                line = longer


def _table(draw: ImageDraw.ImageDraw, place: tuple[int, int], column: int, size: int) -> int:
    left, top = place
    for row, cells in enumerate(TABLE):
        for position, cell in enumerate(cells):
            write(
                draw,
                (left + position * column, top + row * 2 * size),
                cell,
                "Bold" if row == 0 else "Regular",
                size,
                (30, 30, 30),
            )
    return sum(len(cells) for cells in TABLE)
