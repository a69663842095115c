"""Draw text with a font that comes in a wheel, the same on every machine up to the last bits of its font library."""

from __future__ import annotations

import importlib.util
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from hpi_core.digest import digest_of_bytes

if TYPE_CHECKING:
    from PIL import ImageDraw

FONT_PACKAGE: Final = "font_source_sans_pro"
"""A wheel with Source Sans Pro (SIL Open Font License 1.1); PaddleX's result pictures are drawn with it too."""

Face = Literal["Regular", "Bold", "It", "Semibold"]
FACES: Final[tuple[Face, ...]] = ("Regular", "Bold", "It", "Semibold")

BUILT_IN: Final = "Pillow's built-in font"


@lru_cache(maxsize=1)
def font_identity() -> str:
    """Return which font is drawn with: the digest of its files, or the name of Pillow's own."""
    files = [_font_file(face) for face in FACES]
    if None in files:
        return BUILT_IN
    return digest_of_bytes(file.read_bytes() for file in files if file is not None)


@lru_cache(maxsize=64)
def load_font(face: Face, size: int) -> Any:
    """Return a face in a size in pixels; every face is the same one where the wheel of the font is not installed."""
    from PIL import ImageFont

    file = _font_file(face)
    if font_identity() == BUILT_IN or file is None:
        return ImageFont.load_default(size)
    # Basic layout: complex shaping would depend on a library that not every build of Pillow has.
    return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)


def write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, face: Face, size: int, ink: Any) -> int:
    """Draw one line with its upper left corner at a place and return its width in pixels."""
    font = load_font(face, size)
    draw.text(place, text, fill=ink, font=font)
    width: float = font.getlength(text)
    return math.ceil(width)


def text_width(text: str, face: Face, size: int) -> int:
    """Return the width of a line. Unit: pixels."""
    width: float = load_font(face, size).getlength(text)
    return math.ceil(width)


def _font_file(face: Face) -> Path | None:
    spec = importlib.util.find_spec(FONT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "files" / f"SourceSansPro-{face}.ttf"
    return path if path.is_file() else None
