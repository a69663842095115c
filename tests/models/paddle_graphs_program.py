"""Save tiny graphs in Paddle's own format; run by a Python that has paddle, with the target folder as its argument.

Each has a parameter, because Paddle saves no file of weights without one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEGACY = len(sys.argv) > 2 and sys.argv[2] == "legacy"
if LEGACY:
    os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112 - the name that paddle reads

import paddle  # noqa: E402
from paddle import nn  # noqa: E402

Spec = paddle.static.InputSpec
Signature = list[Any]


class WithOne(nn.Layer):  # type: ignore[misc]
    """A function and a parameter that is 1."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.one = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))


class OfOne(WithOne):
    """A function of one input; Paddle takes no variable number of them."""

    def forward(self, x: Any) -> Any:
        """Apply the function."""
        return self.function(self.one, x)


class OfTwo(WithOne):
    """A function of two inputs."""

    def forward(self, x: Any, y: Any) -> Any:
        """Apply the function."""
        return self.function(self.one, x, y)


class OfEight(WithOne):
    """A function of eight inputs."""

    def forward(self, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
        """Apply the function."""
        return self.function(self.one, a, b, c, d, e, f, g, h)


def convolution() -> tuple[nn.Layer, Signature]:
    """Two convolutions with free batch, height and width."""
    paddle.seed(7)
    layers = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.Hardswish(), nn.Conv2D(8, 4, 3, stride=2, padding=1))
    return layers, [Spec([None, 3, None, None], "float32", "x")]


def add() -> tuple[nn.Layer, Signature]:
    """Adds a row of constants: batch free, 3 columns."""
    layer = nn.Linear(3, 3)
    layer.weight.set_value(paddle.eye(3))
    layer.bias.set_value(paddle.to_tensor([1.0, -2.0, 0.5]))
    return layer, [Spec([None, 3], "float32", "x")]


def mixed() -> tuple[nn.Layer, Signature]:
    """Four outputs of several types, in an order that is neither that of their names nor of their making."""

    def function(one: Any, x: Any, n: Any) -> Any:
        doubled = x * 2.0 * one
        return n + n, doubled, x > 0.0, doubled.sum()

    return OfTwo(function), [Spec([None, 2], "float32", "x"), Spec([None], "int64", "n")]


def pairs() -> tuple[nn.Layer, Signature]:
    """A reshape to two rows, which an odd length makes fail while the graph runs."""

    def function(one: Any, x: Any) -> Any:
        return paddle.reshape(x * one, [2, -1])

    return OfOne(function), [Spec([None], "float32", "x")]


def passthrough() -> tuple[nn.Layer, Signature]:
    """An output that is an input."""

    def function(one: Any, x: Any) -> Any:
        return x * one, x

    return OfOne(function), [Spec([None], "float32", "x")]


def types() -> tuple[nn.Layer, Signature]:
    """Takes a vector of every type that the predictor takes, and gives each back as a column."""

    def function(one: Any, *vectors: Any) -> Any:
        return *(paddle.reshape(vector, [-1, 1]) for vector in vectors), one * 2.0

    return OfEight(function), [Spec([None], dtype, dtype) for dtype in TYPES]


def int16() -> tuple[nn.Layer, Signature]:
    """Takes a type that the predictor does not take."""

    def function(one: Any, x: Any) -> Any:
        return paddle.reshape(x, [-1, 1]), one * 2.0

    return OfOne(function), [Spec([None], "int16", "x")]


def scalar() -> tuple[nn.Layer, Signature]:
    """Takes and gives a number without dimensions."""

    def function(one: Any, x: Any) -> Any:
        return paddle.reshape(x * one, [])

    return OfOne(function), [Spec([], "float32", "x")]


TYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
GRAPHS: dict[str, Callable[[], tuple[nn.Layer, Signature]]] = {
    "convolution": convolution,
    "add": add,
    **(
        {}
        if LEGACY
        else {
            "mixed": mixed,
            "pairs": pairs,
            "passthrough": passthrough,
            "types": types,
            "int16": int16,
            "scalar": scalar,
        }
    ),
}


def main(folder: Path) -> None:
    """Save every graph in a folder of its own."""
    for name, build in GRAPHS.items():
        layer, signature = build()
        layer.eval()
        static = paddle.jit.to_static(layer, input_spec=signature, full_graph=True)
        paddle.jit.save(static, str(folder / name / "inference"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
