"""The shapes that a model's `inference.yml` declares for its inputs, checked against the model file; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hpi_agent.engines.base import TensorSpec, format_shape
from hpi_agent.select.answers import TaskFamily
from hpi_agent.select.shapes import MAX_DIMENSION, MAX_INPUTS, Profile, Shape, Shapes, malformed, read_profile
from hpi_core.errors import Refused

__all__ = ["MAX_DIMENSION", "MAX_INPUTS", "Profile", "Shape", "Shapes", "declared_input_data", "declared_profile"]

DECLARATIONS: Final = (("tensorrt", "dynamic_shapes"), ("paddle_infer", "trt_dynamic_shapes"))
"""Where `Hpi.backend_configs` declares shapes, the one that counts first."""

TEMPLATES: Final[Mapping[TaskFamily, Shapes]] = {
    "text_detection": ((1, 3, 32, 32), (1, 3, 736, 736), (1, 3, 4000, 4000)),
    "text_recognition": ((1, 3, 48, 160), (1, 3, 48, 320), (8, 3, 48, 3200)),
    "classification": ((1, 3, 224, 224), (1, 3, 224, 224), (8, 3, 224, 224)),
}
"""Shapes of a family's models whose `inference.yml` declares none.

Source:
    paddlex 3.7.2, `modules/base/utils/pdparams2safetensors/inference_meta.py`.
"""

PICTURE: Final = (1, 3, 224, 224)
"""What stands for the free dimensions of an input of rank 4: one colour picture of the size most models take."""
FREE_DIMENSION: Final = 32
"""What stands for any other free dimension but the first, which is a batch of 1."""


def declared_profile(
    inference: Mapping[str, Any], family: TaskFamily | None, specs: Sequence[TensorSpec] | None
) -> Profile:
    """Return the shapes of every input: the declared ones, else the family's, else what the model file leaves open.

    Args:
        inference: The parsed `inference.yml`.
        family: The task family, or None.
        specs: The inputs that the model file declares; None: nobody knows before it is loaded, as with a program of
            Paddle, and the declaration stands alone.

    Raises:
        Refused: The declaration is malformed, or contradicts the model file; both sides are in the text.
    """
    declared = [_read(inference, *place) for place in DECLARATIONS]
    if specs is None:
        return next((profile for profile in declared if profile), {})
    for place, profile in zip(DECLARATIONS, declared, strict=True):
        _check_against(".".join(("Hpi.backend_configs", *place)), profile, specs)
    chosen = next((profile for profile in declared if profile), {})
    return {spec.name: chosen.get(spec.name) or _default(family, spec, len(specs)) for spec in specs}


def declared_input_data(inference: Mapping[str, Any], profile: Profile) -> Mapping[str, tuple[tuple[float, ...], ...]]:
    """Return the values that `inference.yml` gives for inputs that are not pictures, such as `scale_factor`.

    Returns:
        For each input named there three flat rows of numbers, for the smallest, usual and largest shape.

    Raises:
        Refused: The data are malformed, name an unknown input, or have another count of values than their shape.
    """
    place = "Hpi.backend_configs.paddle_infer.trt_dynamic_shape_input_data"
    written = _section(inference, "paddle_infer").get("trt_dynamic_shape_input_data")
    if written is None:
        return {}
    if not isinstance(written, Mapping) or len(written) > MAX_INPUTS:
        raise _malformed(place, written, f"a mapping of at most {MAX_INPUTS} inputs")
    for name, rows in written.items():
        if name not in profile:
            raise Refused(f"{place} names the input {name!r}; the model file declares {sorted(profile)}; correct one")
        counts = [math.prod(shape) for shape in profile[name]]
        if not isinstance(rows, list) or [len(row) if isinstance(row, list) else -1 for row in rows] != counts:
            raise _malformed(f"{place}.{name}", rows, f"three lists of {counts} numbers, one per shape")
        if not all(_is_number(value) for row in rows for value in row):
            raise _malformed(f"{place}.{name}", rows, "finite numbers alone")
    return {name: tuple(tuple(float(value) for value in row) for row in rows) for name, rows in written.items()}


def _section(inference: Mapping[str, Any], backend: str) -> Mapping[str, Any]:
    """Return `Hpi.backend_configs.<backend>`, empty where there is none."""
    here: Any = inference
    path = ""
    for key in ("Hpi", "backend_configs", backend):
        here = here.get(key)
        path = f"{path}.{key}".lstrip(".")
        if here is None:
            return {}
        if not isinstance(here, Mapping):
            raise _malformed(path, here, "a mapping")
    section: Mapping[str, Any] = here
    return section


def _read(inference: Mapping[str, Any], backend: str, key: str) -> dict[str, Shapes]:
    written = _section(inference, backend).get(key)
    return {} if written is None else read_profile(f"inference.yml Hpi.backend_configs.{backend}.{key}", written)


def _check_against(place: str, profile: Mapping[str, Shapes], specs: Sequence[TensorSpec]) -> None:
    by_name = {spec.name: spec for spec in specs}
    for name, shapes in profile.items():
        if name not in by_name:
            raise Refused(
                f"{place} declares the input {name!r}; the model file has {sorted(by_name)}; correct inference.yml, or "
                "use the one that was exported with this file"
            )
        wanted = by_name[name].shape
        for shape in shapes:
            if not _fits(shape, wanted):
                raise Refused(
                    f"{place}.{name} declares the shape {format_shape(shape)}; the model file has "
                    f"{format_shape(wanted)}, where ? is free; correct inference.yml, or export the model again"
                )


def _fits(shape: Shape, wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(size in (None, given) for given, size in zip(shape, wanted, strict=True))


def _default(family: TaskFamily | None, spec: TensorSpec, inputs: int) -> Shapes:
    template = TEMPLATES[family] if family is not None and inputs == 1 and len(spec.shape) == 4 else None
    smallest, usual, largest = template or (_open(spec),) * 3
    return _fixed(smallest, spec), _fixed(usual, spec), _fixed(largest, spec)


def _open(spec: TensorSpec) -> Shape:
    if len(spec.shape) == len(PICTURE):
        return PICTURE
    return tuple(1 if position == 0 else FREE_DIMENSION for position in range(len(spec.shape)))


def _fixed(shape: Shape, spec: TensorSpec) -> Shape:
    return tuple(size if fixed is None else fixed for size, fixed in zip(shape, spec.shape, strict=True))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _malformed(place: str, seen: Any, allowed: str) -> Refused:
    return malformed(f"inference.yml {place}", seen, allowed)
