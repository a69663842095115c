"""Compare what a runtime loaded with what the model file declares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpi_agent.engines.base import EngineRequest, TensorSpec, format_shape
from hpi_agent.engines.onnx_file import Declared
from hpi_core.errors import EngineFailed


@dataclass(frozen=True)
class LoadedTensor:
    """What a runtime says of one input or output."""

    names: frozenset[str]
    """All names that it answers to."""
    dtype: str
    """The numpy name, or the runtime's own where numpy has no such type."""
    shape: tuple[int | None, ...] | None
    """Dimensions, None for free ones; None where the runtime does not know the rank."""


@dataclass(frozen=True)
class Signature:
    """What a runtime says of all of them, in its order."""

    inputs: Sequence[LoadedTensor]
    outputs: Sequence[LoadedTensor]


def check_signature(request: EngineRequest, declared: Declared, loaded: Signature, *, every_input: bool) -> None:
    """Fail unless a runtime loaded what the model file declares.

    Runtimes replace free dimensions by what they infer. Of outputs the number of dimensions is compared and not their
    sizes, which the declaration of some converted models has wrong.

    Args:
        request: What was asked.
        declared: What the model file declares.
        loaded: What the runtime has; more outputs than declared are allowed.
        every_input: Whether every declared input must be there; else the runtime may leave out one that nothing reads.

    Raises:
        EngineFailed: They differ; the text names both.
    """
    fits = (
        all(any(_is_same(one, spec, sizes=True) for spec in declared.inputs) for one in loaded.inputs)
        and all(any(_is_same(one, spec, sizes=False) for one in loaded.outputs) for spec in declared.outputs)
        and (not every_input or len(loaded.inputs) == len(declared.inputs))
    )
    if not fits:
        form, advice = (
            ("model file", "convert the model again") if request.built is None else ("built form", "build it again")
        )
        raise EngineFailed(
            f"{request.model_path} declares {_declared_text(declared.inputs)} → {_declared_text(declared.outputs)}, "
            f"{request.backend} loaded from the {form} {_loaded_text(loaded.inputs)} → {_loaded_text(loaded.outputs)}; "
            f"{advice}"
        )


def _is_same(loaded: LoadedTensor, declared: TensorSpec, sizes: bool) -> bool:
    if declared.name not in loaded.names or declared.dtype != loaded.dtype:
        return False
    if loaded.shape is None:
        return True
    return len(loaded.shape) == len(declared.shape) and not (
        sizes
        and any(None not in pair and pair[0] != pair[1] for pair in zip(loaded.shape, declared.shape, strict=True))
    )


def _declared_text(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {format_shape(spec.shape)}" for spec in specs) or "nothing"


def _loaded_text(tensors: Sequence[LoadedTensor]) -> str:
    return ", ".join(_tensor_text(tensor) for tensor in tensors) or "nothing"


def _tensor_text(tensor: LoadedTensor) -> str:
    shape = "of any shape" if tensor.shape is None else format_shape(tensor.shape)
    return f"{'/'.join(sorted(tensor.names))} {tensor.dtype} {shape}"
