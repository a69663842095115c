"""Pages with known text: rendered ones from a seed, and the small scanned page that ships with scikit-image.

Rendered pages use fonts that come in wheels alone, so that every machine draws the same letters. Text, layout and
distortion depend on the seed and the index only; pixels may differ in their last bits between versions of FreeType.
"""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from support.prose import code_lines, headings, sentences
from support.text_error import Point, Quad, TextLine

SEED: Final = 2026
WIDTH: Final = 1240
HEIGHT: Final = 1754
"""A4 at 150 dots per inch. Unit: pixels."""
MARGIN: Final = 90
GUTTER: Final = 60
MIN_LINES: Final = 30
MAX_ROTATION_DEGREES: Final = 1.0

BODY_FONTS: Final = (
    ("SourceSansPro-Regular", "SourceSansPro-Bold"),
    ("SourceSerifPro-Regular", "SourceSerifPro-Bold"),
    ("Caladea-Regular", "Caladea-Bold"),
    ("SourceSansPro-It", "SourceSansPro-BoldIt"),
    ("Caladea-Italic", "Caladea-BoldItalic"),
    ("SourceSerifPro-It", "SourceSerifPro-BoldIt"),
)
"""Fonts of body text and of headings. Each has every printable character of ASCII."""
CODE_FONTS: Final = ("SourceSansPro-Semibold", "SourceSerifPro-Semibold", "SourceSansPro-Light")
FONT_PACKAGES: Final = {
    "SourceSansPro": "font_source_sans_pro",
    "SourceSerifPro": "font_source_serif_pro",
    "Caladea": "font_caladea",
}
"""Packages that lend the fonts, by the first word of a font's name."""


@dataclass(frozen=True)
class Page:
    """An image and the text on it.

    Attributes:
        name: For tables and files.
        image: BGR, shape (height, width, 3), 0 to 255.
        text_lines: The lines in reading order (column by column) with their boxes in pixels of the image.
    """

    name: str
    image: NDArray[np.uint8]
    text_lines: tuple[TextLine, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The texts alone, in reading order."""
        return tuple(line.text for line in self.text_lines)

    @property
    def boxes(self) -> tuple[Quad, ...]:
        """The boxes alone, in reading order."""
        return tuple(line.quad for line in self.text_lines)


@dataclass(frozen=True)
class Style:
    """How one page looks. Sizes and distances in pixels."""

    body: str
    heading: str
    code: str
    size: int
    pitch: int
    columns: int
    ink: int
    paper: int
    rotation_degrees: float
    blur_radius: float
    noise: float
    """Standard deviation of the noise, in grey levels."""


def pages(count: int = 20, seed: int = SEED) -> Iterator[Page]:
    """Yield the first pages of a seed."""
    return (render_page(seed, index) for index in range(count))


def render_page(seed: int, index: int) -> Page:
    """Return one page of `WIDTH` x `HEIGHT` pixels with at least `MIN_LINES` lines of text.

    Every third page has two columns; about half are rotated by at most one degree, blurred a little, or noisy.
    """
    random_ = random.Random(f"{seed}/{index}")
    style = _style(random_, index)
    canvas = Image.new("L", (WIDTH, HEIGHT), style.paper)
    drawn = list(_draw_columns(ImageDraw.Draw(canvas), style, random_))
    distorted = _distort(canvas, style, np.random.default_rng([seed, index]))
    turn = _rotation(style.rotation_degrees)
    lines = tuple(TextLine(text, _turned(box, turn)) for text, box in drawn)
    return Page(f"rendered-{seed}-{index:02d}", distorted, lines)


def small_page() -> Page:
    """Return `skimage.data.page()`: a photographed page of 384 x 191 pixels with 7 whole lines, transcribed by eye.

    A line cut off by the lower edge is not part of the text.
    """
    import skimage.data

    grey = skimage.data.page()
    lines = tuple(TextLine(text, _upright(*box)) for text, box in _SMALL_PAGE)
    return Page("skimage-page", _as_bgr(grey), lines)


_SMALL_PAGE: Final = (
    ("Region-based segmentation", (6, 12, 293, 33)),
    ("Let us first determine markers of the coins and the", (5, 50, 377, 64)),
    ("background. These markers are pixels that we can label", (5, 67, 377, 82)),
    ("unambiguously as either object or background. Here,", (5, 85, 377, 101)),
    ("the markers are found at the two extreme parts of the", (5, 102, 377, 118)),
    ("histogram of grey values:", (6, 119, 171, 134)),
    (">>> markers = np.zeros_like(coins)", (18, 169, 241, 189)),
)
"""Text and upright box (left, top, right, bottom) of each line."""


def _style(random_: random.Random, index: int) -> Style:
    body, heading = random_.choice(BODY_FONTS)
    columns = 2 if index % 3 == 2 else 1
    size = random_.randint(19, 22) if columns == 2 else random_.randint(21, 27)
    return Style(
        body=body,
        heading=heading,
        code=random_.choice(CODE_FONTS),
        size=size,
        pitch=round(size * random_.uniform(1.45, 1.65)),
        columns=columns,
        ink=random_.randint(0, 110),
        paper=random_.randint(225, 255),
        rotation_degrees=_sometimes(random_, -MAX_ROTATION_DEGREES, MAX_ROTATION_DEGREES),
        blur_radius=_sometimes(random_, 0.4, 1.3),
        noise=_sometimes(random_, 3.0, 24.0),
    )


def _sometimes(random_: random.Random, low: float, high: float) -> float:
    return random_.uniform(low, high) if random_.random() < 0.5 else 0.0


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _draw_columns(draw: ImageDraw.ImageDraw, style: Style, random_: random.Random) -> Iterator[tuple[str, Box]]:
    width = (WIDTH - 2 * MARGIN - (style.columns - 1) * GUTTER) // style.columns
    for column in range(style.columns):
        yield from _draw_column(draw, style, random_, MARGIN + column * (width + GUTTER), width)


def _draw_column(
    draw: ImageDraw.ImageDraw, style: Style, random_: random.Random, left: int, width: int
) -> Iterator[tuple[str, Box]]:
    top = MARGIN
    for font_name, size, indent, text in _column_lines(style, random_, width):
        font = load_font(font_name, size)
        pitch = round(style.pitch * size / style.size)
        if top + pitch > HEIGHT - MARGIN:
            return
        if text:
            # Anchor "ls" puts the baseline where we say, so that lines of different fonts keep one distance.
            start = (left + indent, top + round(size * 0.95))
            draw.text(start, text, fill=style.ink, font=font, anchor="ls")
            box_left, box_top, box_right, box_bottom = draw.textbbox(start, text, font=font, anchor="ls")
            yield text, (box_left, box_top, box_right, box_bottom)
        top += pitch if text else pitch // 2


def _column_lines(style: Style, random_: random.Random, width: int) -> Iterator[tuple[str, int, int, str]]:
    """Yield (font, size, indent, text) without end; an empty text is a gap."""
    titles, prose, code = headings(random_), sentences(random_), code_lines(random_)
    while True:
        size = round(style.size * random_.uniform(1.3, 1.7))
        yield style.heading, size, 0, _fitting(titles, style.heading, size, width)
        for _ in range(random_.randint(1, 2)):
            words = " ".join(islice(prose, random_.randint(4, 9))).split()
            for text in _wrapped(words, load_font(style.body, style.size), width):
                yield style.body, style.size, 0, text
            yield style.body, style.size, 0, ""
        for _ in range(random_.randint(2, 4)):
            indent = random_.choice((0, 1, 1, 2)) * style.size
            yield style.code, style.size, indent, _fitting(code, style.code, style.size, width - indent)
        yield style.body, style.size, 0, ""


def _fitting(texts: Iterator[str], font: str, size: int, width: int) -> str:
    return next(text for text in texts if load_font(font, size).getlength(text) <= width)


def _wrapped(words: list[str], font: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    line = words[0]
    for word in words[1:]:
        if font.getlength(f"{line} {word}") <= width:
            line = f"{line} {word}"
        else:
            yield line
            line = word
    yield line


@lru_cache(maxsize=64)
def load_font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font in a size in pixels.

    Basic layout: complex shaping would depend on a library that not every build of Pillow has.
    """
    return ImageFont.truetype(str(font_file(name)), size, layout_engine=ImageFont.Layout.BASIC)


def font_file(name: str) -> Path:
    """Return the file of a font; the package that lends it is not imported.

    Raises:
        RuntimeError: The package is not installed.
    """
    package = FONT_PACKAGES[name.split("-")[0]]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"rendered pages need the fonts of the package {package}: install it")
    return Path(spec.origin).parent / "files" / f"{name}.ttf"


def _distort(canvas: Image.Image, style: Style, generator: np.random.Generator) -> NDArray[np.uint8]:
    if style.rotation_degrees:
        canvas = canvas.rotate(style.rotation_degrees, Image.Resampling.BICUBIC, fillcolor=style.paper)
    if style.blur_radius:
        canvas = canvas.filter(ImageFilter.GaussianBlur(style.blur_radius))
    grey = np.asarray(canvas, dtype=np.float32)
    if style.noise:
        grey = grey + generator.normal(0.0, style.noise, grey.shape).astype(np.float32)
    return _as_bgr(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def _as_bgr(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _rotation(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _turned(box: Box, turn: tuple[float, float]) -> Quad:
    """Return the corners of a box after Pillow's counter-clockwise rotation about the middle of the page."""
    cosine, sine = turn
    middle_x, middle_y = WIDTH / 2, HEIGHT / 2

    def turned(point: Point) -> Point:
        x, y = point[0] - middle_x, point[1] - middle_y
        return middle_x + cosine * x + sine * y, middle_y - sine * x + cosine * y

    upper_left, upper_right, lower_right, lower_left = _upright(*box)
    return turned(upper_left), turned(upper_right), turned(lower_right), turned(lower_left)


def _upright(left: float, top: float, right: float, bottom: float) -> Quad:
    return (left, top), (right, top), (right, bottom), (left, bottom)
