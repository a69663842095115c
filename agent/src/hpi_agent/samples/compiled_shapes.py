"""The shapes an engine is compiled for: the user's, else those the model declares, with room for the batch; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hpi_agent.engines.base import ShapeProfile, TensorSpec, format_shape
from hpi_agent.samples.profile import Profile, Shapes
from hpi_agent.select.wish import Wish
from hpi_core.errors import Refused

MAX_BATCH: Final = 1024
"""Largest batch that a compiled engine makes room for; a pipeline's YAML may say anything."""


def compiled_profile(
    declared: Profile, specs: Sequence[TensorSpec] | None, wish: Wish, part: Mapping[str, Any]
) -> Profile:
    """Return the shapes of every input for a backend that compiles for them.

    An engine refuses what lies outside of its shapes, and none is built again inside a request, so the largest batch is
    at least the one that the pipeline's YAML says it sends.

    Args:
        declared: Smallest, usual and largest shape of each input, as the model declares them.
        specs: The inputs that the model file declares; None: nobody knows before it is loaded.
        wish: What the user asks; its shapes take the place of the declared ones, input by input.
        part: The model's part of the pipeline's YAML.

    Raises:
        Refused: The user's shapes name an input that the model does not have, or do not fit it.
    """
    wished = dict(wish.shapes or ())
    by_name = None if specs is None else {spec.name: spec for spec in specs}
    for name, shapes in wished.items():
        _check(name, shapes, declared, by_name)
    batch = part.get("batch_size")
    batch = batch if type(batch) is int and 1 <= batch <= MAX_BATCH else 1
    return {
        # A user who gives shapes has said how large a batch may be.
        name: wished.get(name) or _with_room(shapes, batch, None if by_name is None else by_name.get(name))
        for name, shapes in {**declared, **wished}.items()
    }


def shape_profiles(profile: Profile) -> tuple[ShapeProfile, ...]:
    """Return a profile as engines take it, sorted by input."""
    return tuple(ShapeProfile(name, *shapes) for name, shapes in sorted(profile.items()))


def _check(name: str, shapes: Shapes, declared: Profile, specs: Mapping[str, TensorSpec] | None) -> None:
    if specs is None:
        if declared and name not in declared:
            raise Refused(f"the shapes of the settings name the input {name!r}; the model has {sorted(declared)}")
        return
    if name not in specs:
        raise Refused(f"the shapes of the settings name the input {name!r}; the model file has {sorted(specs)}")
    wanted = specs[name].shape
    for shape in shapes:
        if len(shape) != len(wanted) or any(
            fixed not in (None, size) for size, fixed in zip(shape, wanted, strict=True)
        ):
            raise Refused(
                f"the shapes of the settings give the input {name!r} the shape {format_shape(shape)}; the model file "
                f"has {format_shape(wanted)}, where ? is free"
            )


def _with_room(shapes: Shapes, batch: int, spec: TensorSpec | None) -> Shapes:
    smallest, usual, largest = shapes
    # Without its declaration nobody knows whether the first dimension is free: a declared range of it says so.
    is_free = smallest[:1] < largest[:1] if spec is None else bool(spec.shape) and spec.shape[0] is None
    if not is_free or largest[0] >= batch:
        return shapes
    return smallest, usual, (batch, *largest[1:])
