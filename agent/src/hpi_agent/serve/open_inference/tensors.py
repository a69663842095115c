"""One input tensor: its declaration, and its elements from JSON numbers or from raw bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.serve.open_inference.fields import JSON_NAMES, read_list, read_text, show, suggest
from hpi_agent.serve.open_inference.limits import Limits
from hpi_core.errors import Refused, TooLarge
from hpi_core.formats import OPEN_INFERENCE_DTYPES

DTYPES: Final[dict[str, np.dtype[Any]]] = {word: np.dtype(name) for name, word in OPEN_INFERENCE_DTYPES.items()}
"""Protocol datatype to numpy type, in the byte order of this machine."""

REFUSED_DATATYPES: Final = ("BYTES", "BF16")
"""Datatypes that clients know and this server does not take."""


@dataclass(frozen=True)
class Declaration:
    """What a request says about one input before its elements."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    elements: int

    @property
    def tensor_bytes(self) -> int:
        """Size of the decoded tensor. Unit: bytes."""
        return self.elements * self.dtype.itemsize


def read_declaration(fields: dict[str, Any], path: str, limits: Limits) -> Declaration:
    """Return name, datatype and shape of an input.

    Raises:
        Refused: One of the three is missing or malformed.
        TooLarge: A limit is exceeded.
    """
    for key in ("name", "shape", "datatype"):
        if key not in fields:
            raise Refused(f"{path}.{key} is missing; an input needs name, shape, datatype and its elements")
    name = read_text(fields["name"], f"{path}.name", limits.name_characters)
    datatype = read_datatype(fields["datatype"], f"{path}.datatype")
    shape, elements = read_shape(fields["shape"], f"{path}.shape", limits)
    return Declaration(name, datatype, DTYPES[datatype], shape, elements)


def read_datatype(value: Any, path: str) -> str:
    """Return a datatype that has a numpy type.

    Raises:
        Refused: The word is none of the protocol's, or names a type that is not supported.
    """
    if type(value) is str and value in DTYPES:
        return value
    allowed = ", ".join(DTYPES)
    if value in REFUSED_DATATYPES:
        raise Refused(f"{path} {value} is not supported; allowed are {allowed}")
    hint = ""
    if type(value) is str:
        same = [word for name, word in OPEN_INFERENCE_DTYPES.items() if value.lower() == name]
        hint = f"; did you mean {same[0]!r}?" if same else suggest(value.upper(), DTYPES)
    raise Refused(f"{path} must be one of {allowed}, got {show(value)}{hint}")


def read_shape(value: Any, path: str, limits: Limits) -> tuple[tuple[int, ...], int]:
    """Return the shape and the number of its elements; an empty shape is a scalar.

    Raises:
        Refused: A dimension is no integer of at least 1.
        TooLarge: There are too many dimensions or elements.
    """
    sizes = read_list(value, path, limits.dimensions)
    elements = 1
    for axis, size in enumerate(sizes):
        if type(size) is not int or size < 1:
            raise Refused(f"{path}[{axis}] must be an integer of at least 1, got {show(size)}")
        elements *= size
        if elements > limits.elements:
            raise TooLarge(f"{path} asks for {elements} elements or more; at most {limits.elements} are allowed")
    return tuple(sizes), elements


def read_binary(declared: Declaration, body: bytes, offset: int, path: str) -> NDArray[Any]:
    """Return the tensor that lies at `offset` in the body, without copying it.

    The array is read-only and shares the body's memory. It starts wherever the JSON object ended, so its address may
    not be a multiple of its element size.

    Raises:
        Refused: A BOOL is neither 0 nor 1.
    """
    little = declared.dtype.newbyteorder("<")
    if declared.datatype != "BOOL":
        flat = np.frombuffer(body, little, declared.elements, offset)
        return flat.reshape(declared.shape)
    raw = np.frombuffer(body, np.uint8, declared.elements, offset)
    if raw.max() > 1:
        where = int(np.argmax(raw > 1))
        raise Refused(f"{path}: a BOOL must be the byte 0 or 1, got {raw[where]} at element {where}")
    return raw.view(np.bool_).reshape(declared.shape)


def read_json(declared: Declaration, data: Any, path: str) -> NDArray[Any]:
    """Return the tensor that JSON numbers spell, flat in row-major order or nested like the shape.

    Raises:
        Refused: The numbers do not fill the shape, or one of them is not exactly a value of the datatype's kind and
            range. Floating-point numbers are rounded to the datatype.
    """
    if declared.datatype == "FP16":
        raise Refused(f"{path}: FP16 has no JSON form in this protocol; send it as binary data, or send FP32")
    flat = flatten(data, declared, path)
    kind = declared.dtype.kind
    if kind == "b":
        check_types(flat, {bool}, declared, path)
        return np.array(flat, np.bool_).reshape(declared.shape)
    if kind == "f":
        check_types(flat, {int, float}, declared, path)
        return round_floats(flat, declared, path).reshape(declared.shape)
    check_types(flat, {int}, declared, path)
    check_range(flat, declared, path)
    return np.array(flat, declared.dtype).reshape(declared.shape)


def flatten(data: Any, declared: Declaration, path: str) -> list[Any]:
    """Return the elements in row-major order.

    Raises:
        Refused: The count, or the length or depth of a nested list, differs from the shape.
    """
    if type(data) is not list:
        raise Refused(f"{path} must be an array, got {show(data)}")
    if not data or type(data[0]) is not list:
        if len(data) != declared.elements:
            raise Refused(f"{path} has {len(data)} elements; shape {list(declared.shape)} needs {declared.elements}")
        return data
    level: list[Any] = [data]
    for axis, size in enumerate(declared.shape):
        shorter = next((item for item in level if type(item) is not list or len(item) != size), None)
        if shorter is not None:
            seen = f"an array of {len(shorter)}" if type(shorter) is list else show(shorter)
            raise Refused(
                f"{path} must nest like shape {list(declared.shape)}, or be flat: "
                f"at depth {axis} an array of {size} is needed, got {seen}"
            )
        level = list(chain.from_iterable(level))
    return level


def check_types(flat: list[Any], allowed: set[type], declared: Declaration, path: str) -> None:
    """Refuse elements of another JSON type; true is not 1, and 1.0 is not an integer."""
    if set(map(type, flat)) <= allowed:
        return
    where, value = next((i, item) for i, item in enumerate(flat) if type(item) not in allowed)
    words = " or ".join(sorted(JSON_NAMES[one] for one in allowed))
    raise Refused(f"{path}: a {declared.datatype} must be {words}, got {show(value)} at element {where}")


def check_range(flat: Sequence[int], declared: Declaration, path: str) -> None:
    """Refuse integers that the datatype cannot hold."""
    info = np.iinfo(declared.dtype)
    low, high = int(info.min), int(info.max)
    if low <= min(flat) and max(flat) <= high:
        return
    where, value = next((i, item) for i, item in enumerate(flat) if not low <= item <= high)
    raise Refused(f"{path}: a {declared.datatype} must be {low} to {high}, got {value} at element {where}")


def round_floats(flat: list[Any], declared: Declaration, path: str) -> NDArray[Any]:
    """Return the numbers rounded to the datatype; refuse those beyond its largest finite value."""
    with np.errstate(over="ignore"):
        array = np.array(flat, np.float64).astype(declared.dtype, copy=False)
    finite = np.isfinite(array)
    if finite.all():
        return array
    where = int(np.argmin(finite))
    largest = float(np.finfo(declared.dtype).max)
    raise Refused(
        f"{path}: a {declared.datatype} must be at most {largest:.6g} in size, "
        f"got {show(flat[where])} at element {where}"
    )
