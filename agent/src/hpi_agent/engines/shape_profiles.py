"""The shapes that a backend compiles for: whether they are whole, and whether what comes lies within them; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, ShapeProfile, TensorSpec, format_shape
from hpi_core.errors import Refused


def check_profiles(profiles: Sequence[ShapeProfile]) -> None:
    """Check that every profile is a range of shapes, and that no input has two.

    Raises:
        Refused: Two have one name, the three shapes of one differ in rank, a size is below 1, or the usual one lies
            outside.
    """
    names = [profile.name for profile in profiles]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refused(f"inputs {twice} have two shape profiles; give one to each")
    for profile in profiles:
        shapes = (profile.smallest, profile.usual, profile.largest)
        if len({len(shape) for shape in shapes}) != 1 or not all(
            1 <= smallest <= usual <= largest for smallest, usual, largest in zip(*shapes, strict=True)
        ):
            raise Refused(
                f"the shape profile of input {profile.name!r} must be three shapes of one rank with 1 <= smallest <= "
                f"usual <= largest in every dimension, got {', '.join(map(format_shape, shapes))}"
            )


def profiles_for(request: EngineRequest, inputs: Sequence[TensorSpec]) -> tuple[ShapeProfile, ...]:
    """Return one profile for every input that has a dimension: those of the request, else what the model file fixes.

    Raises:
        Refused: An input with a free dimension has no profile, a profile contradicts the model file, or it names an
            input that the model does not have.
    """
    given = {profile.name: profile for profile in request.profiles}
    unknown = [name for name in given if name not in {spec.name for spec in inputs}]
    if unknown:
        raise Refused(f"{request.model_path} has no inputs {unknown}; it has {[spec.name for spec in inputs]}")
    return tuple(_profile_for(request, spec, given.get(spec.name)) for spec in inputs if spec.shape)


def _profile_for(request: EngineRequest, spec: TensorSpec, given: ShapeProfile | None) -> ShapeProfile:
    if given is None:
        if None in spec.shape:
            raise Refused(
                f"{request.model_path}: input {spec.name!r} has the shape {format_shape(spec.shape)}, and "
                f"{request.backend} compiles for shapes that are known; give a shape profile for it"
            )
        fixed = tuple(size for size in spec.shape if size is not None)
        return ShapeProfile(spec.name, fixed, fixed, fixed)
    fits = len(given.smallest) == len(spec.shape) and all(
        wanted in (None, smallest) and wanted in (None, largest)
        for wanted, smallest, largest in zip(spec.shape, given.smallest, given.largest, strict=False)
    )
    if not fits:
        raise Refused(
            f"{request.model_path}: input {spec.name!r} has the shape {format_shape(spec.shape)}, its shape profile "
            f"goes from {format_shape(given.smallest)} to {format_shape(given.largest)}; repair the profile"
        )
    return given


def check_within(profiles: Sequence[ShapeProfile], feeds: Mapping[str, NDArray[Any]]) -> None:
    """Check that arrays have shapes that were compiled for.

    Raises:
        Refused: One lies outside; the text names both sides.
    """
    for profile in profiles:
        shape = feeds[profile.name].shape
        if not all(
            smallest <= size <= largest
            for smallest, size, largest in zip(profile.smallest, shape, profile.largest, strict=True)
        ):
            raise Refused(
                f"input {profile.name!r} must have a shape from {format_shape(profile.smallest)} to "
                f"{format_shape(profile.largest)}, for which this engine was compiled, got {format_shape(shape)}; "
                "build an engine for more shapes"
            )


def written(profiles: Sequence[ShapeProfile], shape_of: Callable[[ShapeProfile], Sequence[int]]) -> str:
    """Return one shape of every profile as TensorRT's tools write them: `x:1x3x48x320,y:1`."""
    return ",".join(f"{profile.name}:{'x'.join(map(str, shape_of(profile)))}" for profile in profiles)
