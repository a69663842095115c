"""Pictures for classifiers: pieces of text upright and turned, shapes, stripes and grain."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.samples.drawing import write
from hpi_agent.samples.pages import wrapped

TURNS: Final = (0, 90, 180, 270)
TEXTS: Final = 3
"""Pieces of text, each in four turns."""
FIGURES: Final = 12
"""Pictures without text."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Figure:
    """A picture and what is on it."""

    name: str
    picture: NDArray[np.uint8]
    """Red, green and blue, shape (height, width, 3)."""


def render_figures(seed: int, size: Size) -> tuple[Figure, ...]:
    """Return `4 * TEXTS + FIGURES` pictures of a size (width, height), the same for the same seed."""
    texts = [_text(seed, index, size, turn) for index in range(TEXTS) for turn in TURNS]
    return (*texts, *(_figure(seed, index, size) for index in range(FIGURES)))


def _text(seed: int, index: int, size: Size, turn: int) -> Figure:
    from PIL import Image, ImageDraw

    width, height = size if turn in (0, 180) else size[::-1]
    random_ = random.Random(f"{seed}/text/{index}")  # noqa: S311 - layout
    rows = (1, 4, 8)[index % 3]
    letters = max(8, round(min(height / rows / 1.5, width / 10)))
    canvas = Image.new("RGB", (width, height), (250 - 6 * index, 250 - 8 * index, 246 - 8 * index))
    draw = ImageDraw.Draw(canvas)
    lines = wrapped(random_, letters, max(width - 8, 8 * letters))
    for row in range(rows):
        top = round((row + 0.5) * height / rows - 0.6 * letters)
        write(draw, (4, top), next(lines), "Regular", letters, (30, 30, 40))
    return Figure(f"text turned by {turn}", np.asarray(canvas.rotate(turn, expand=True)))


def _figure(seed: int, index: int, size: Size) -> Figure:
    generator = np.random.default_rng([seed, index])
    down, across = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    colours = generator.integers(0, 256, (2, 3)).astype(np.float32)
    name, share = _pattern(index, down / size[1], across / size[0], generator)
    picture = colours[0] + (colours[1] - colours[0]) * share[:, :, None]
    grain = generator.normal(0.0, 3.0 * (index % 4), picture.shape)
    return Figure(name, np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8))


def _pattern(
    index: int, y: NDArray[np.float32], x: NDArray[np.float32], generator: np.random.Generator
) -> tuple[str, NDArray[np.float32]]:
    """Return a name and the share of the second colour at every pixel, 0 to 1."""
    scale, angle = generator.uniform(3, 20), generator.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    kind = index % 4
    if kind == 0:
        return "stripes", (0.5 + 0.5 * np.sin(2 * np.pi * scale * along)).astype(np.float32)
    if kind == 1:
        radius = generator.uniform(0.15, 0.45)
        return "disc", ((x - 0.5) ** 2 + (y - 0.5) ** 2 < radius**2).astype(np.float32)
    if kind == 2:
        return "squares", ((np.floor(scale * x) + np.floor(scale * y)) % 2).astype(np.float32)
    return "gradient", np.clip(along / max(1e-6, float(along.max())), 0, 1).astype(np.float32)
