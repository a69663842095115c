"""Give the inputs and outputs of an ONNX graph the names that they have in Paddle, in Paddle's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpi_core.errors import EngineFailed


def paired(kind: str, ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Return which name of the ONNX file stands for each name of Paddle, in Paddle's order.

    By name where both sides have the same names, else by position, which the converter keeps.

    Args:
        kind: `inputs` or `outputs`, for the message.
        ours: Names in Paddle.
        theirs: Names in the ONNX file.

    Raises:
        EngineFailed: There are more on one side.
    """
    if set(ours) == set(theirs):
        return {name: name for name in ours}
    if len(ours) != len(theirs):
        raise EngineFailed(f"naming: the ONNX file has the {kind} {list(theirs)}, Paddle has {list(ours)}")
    return dict(zip(ours, theirs, strict=True))


def rename_tensors(graph: Any, names: Mapping[str, str]) -> None:
    """Rename tensors of a graph and of the graphs inside it.

    Args:
        graph: An `onnx.GraphProto`; it is changed.
        names: New name by present name. A tensor that has one of the new names already gets another.
    """
    moved = {old: new for old, new in names.items() if old != new}
    if not moved:
        return
    present = {name for inner in _graphs(graph) for name in _names(inner)}
    for new in list(moved.values()):
        if new in present and new not in moved:
            moved[new] = _free(new, present | set(moved.values()))
    for inner in _graphs(graph):
        for node in inner.node:
            node.input[:] = [moved.get(name, name) for name in node.input]
            node.output[:] = [moved.get(name, name) for name in node.output]
        for value in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
            value.name = moved.get(value.name, value.name)


def order_values(values: Any, names: Sequence[str]) -> None:
    """Bring the declared inputs or outputs of a graph into an order; names that are not given keep their place behind.

    Args:
        values: Repeated `onnx.ValueInfoProto`; it is changed.
        names: The order.
    """
    place = {name: position for position, name in enumerate(names)}
    values.sort(key=lambda value: place.get(value.name, len(place)))


def _free(name: str, taken: set[str]) -> str:
    number = 0
    while f"{name}.{number}" in taken:
        number += 1
    return f"{name}.{number}"


def _names(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from node.input
        yield from node.output


def _graphs(graph: Any) -> Iterator[Any]:
    waiting = [graph]
    while waiting:
        inner = waiting.pop()
        yield inner
        for node in inner.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)
