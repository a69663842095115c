"""An ONNX file → a plan of TensorRT, sealed under what it was built for.

Hardware compatibility and version compatibility stay off: a plan is for one release on one product, which its seal
says, and both options cost speed. A deadline is the caller's, who ends the process: a build cannot be stopped between
the steps that TensorRT reports.

Source:
    TensorRT Developer Guide, "Importing a Model Using the ONNX Parser", "Building an Engine", "Optimization Profiles",
    "Timing Cache"; TensorRT Python API, "Builder", "IBuilderConfig", "OnnxParser", "IProgressMonitor".
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from hpi_agent.engines.base import EngineRequest, ShapeProfile
from hpi_agent.engines.cuda_runtime import DeviceFacts
from hpi_agent.engines.onnx_file import Declared
from hpi_agent.engines.options import read_options
from hpi_agent.engines.sealed_bytes import seal
from hpi_agent.engines.tensorrt_library import TensorRt
from hpi_agent.engines.tensorrt_precision import ARITHMETIC, PRECISION_FLAGS, check_quantised, format_capability
from hpi_agent.engines.timing_cache import TimingCache
from hpi_core.errors import EngineFailed, Refused

KIND: Final = "tensorrt plan"
MEBIBYTE: Final = 2**20
MAX_WORKSPACE_MEBIBYTES: Final = 2**20
WHOLE_DEVICE: Final = "all"
DEFAULT_LEVEL: Final = 3
"""Level of optimisation that TensorRT itself takes; 5 tries everything and takes the longest."""
MAX_LEVEL: Final = 5

log: Final = logging.getLogger(__name__)


def read_build_options(request: EngineRequest) -> tuple[int | None, int]:
    """Return the most scratch memory of one kernel (bytes; None: all that is there) and the level of optimisation.

    Raises:
        Refused: An option is unknown or out of bounds.
    """
    options = read_options(request, {"workspace_mebibytes": WHOLE_DEVICE, "optimization_level": DEFAULT_LEVEL})
    workspace, level = options["workspace_mebibytes"], options["optimization_level"]
    if not _is_within(level, 0, MAX_LEVEL):
        raise Refused(f"optimization_level must be from 0 to {MAX_LEVEL}, got {level!r}")
    if workspace != WHOLE_DEVICE and not _is_within(workspace, 1, MAX_WORKSPACE_MEBIBYTES):
        raise Refused(
            f"workspace_mebibytes must be from 1 to {MAX_WORKSPACE_MEBIBYTES}, or {WHOLE_DEVICE!r}, got {workspace!r}"
        )
    limits = [
        None if workspace == WHOLE_DEVICE else int(workspace) * MEBIBYTE,
        # A kernel that needs more scratch than the engine may take could never run.
        request.device_memory_bytes,
    ]
    return min((limit for limit in limits if limit is not None), default=None), int(level)


def facts_of(
    request: EngineRequest, library: TensorRt, device: DeviceFacts, profiles: Sequence[ShapeProfile]
) -> dict[str, Any]:
    """Return what a plan has to be built for to serve a request; the seal carries it."""
    return {
        **device_facts(library, device),
        "precision": request.precision,
        "profiles": {
            profile.name: [list(shape) for shape in (profile.smallest, profile.usual, profile.largest)]
            for profile in profiles
        },
    }


def device_facts(library: TensorRt, device: DeviceFacts) -> dict[str, str]:
    """Return the release and the device that plans and timings belong to."""
    return {
        "tensorrt": library.version,
        "device": device.name,
        "computeCapability": format_capability(device.capability),
    }


def build_plan(
    request: EngineRequest,
    declared: Declared,
    profiles: Sequence[ShapeProfile],
    library: TensorRt,
    device: DeviceFacts,
) -> bytes:
    """Return the sealed plan of a model; the calling thread has selected the device.

    Args:
        request: What is asked.
        declared: What the model file declares.
        profiles: The shapes of every input that has a dimension.
        library: TensorRT.
        device: What the plan is for.

    Raises:
        Refused: An option is out of bounds, the values of an input decide shapes, or the model is quantised and int8
            was not asked for, or the reverse.
        EngineFailed: TensorRT cannot read the model, or finds no way to compute it.
    """
    workspace_bytes, level = read_build_options(request)
    trt, mark = library.module, library.lines.mark()
    builder = library.make("Builder")
    builder.max_threads = request.threads
    network = builder.create_network(_network_flags(request, trt))
    # It owns the weights and has to live until the plan is there.
    parser = trt.OnnxParser(network, library.logger)
    if not parser.parse(request.model_path.read_bytes()):
        raise _failed(request, library, _parser_errors(parser) or library.lines.since(mark))
    check_quantised(request.model_path, request.precision, _quantised_types(network, trt))
    config = builder.create_builder_config()
    _configure(config, request, trt, workspace_bytes, level)
    _add_profile(config, builder.create_optimization_profile(), network, request, declared, profiles)
    monitor = _make_monitor(trt, str(request.model_path))
    config.progress_monitor = monitor
    cache = None if request.timing_cache is None else TimingCache(request.timing_cache, device_facts(library, device))
    if cache is not None:
        cache.attach(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _failed(request, library, library.lines.since(mark))
    if cache is not None:
        cache.keep(config)
    return seal(KIND, facts_of(request, library, device, profiles), bytes(plan))


def engine_name(name: str, declared: Declared) -> str:
    """Return what TensorRT calls an input.

    Its ONNX parser renames an input that is an output too (`ModelImporter.cpp` of onnx-tensorrt, 8.0 to 10.x).
    """
    return f"__{name}" if any(output.name == name for output in declared.outputs) else name


def _network_flags(request: EngineRequest, trt: Any) -> int:
    strong = ARITHMETIC[request.precision].strongly_typed
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if strong else 0


def _configure(config: Any, request: EngineRequest, trt: Any, workspace_bytes: int | None, level: int) -> None:
    for name in PRECISION_FLAGS:
        flag = getattr(trt.BuilderFlag, name)
        if name in ARITHMETIC[request.precision].flags:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)
    config.clear_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.NONE
    config.builder_optimization_level = level
    if workspace_bytes is not None:
        config.set_memory_pool_limit(pool=trt.MemoryPoolType.WORKSPACE, pool_size=workspace_bytes)


def _add_profile(
    config: Any, profile: Any, network: Any, request: EngineRequest, declared: Declared, shapes: Sequence[ShapeProfile]
) -> None:
    names = {engine_name(spec.name, declared): spec.name for spec in declared.inputs}
    given = {one.name: one for one in shapes}
    dynamic = []
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        name = names.get(tensor.name)
        if name is None:
            raise EngineFailed(f"{request.model_path}: tensorrt reads an input {tensor.name!r} that is not declared")
        if tensor.is_shape_tensor:
            raise Refused(
                f"{request.model_path}: the values of input {name!r} decide the shapes of others, and "
                f"{request.backend} would compile for such values; choose the backend onnxruntime"
            )
        if -1 in tuple(tensor.shape):
            one = given[name]
            profile.set_shape(input=tensor.name, min=one.smallest, opt=one.usual, max=one.largest)
            dynamic.append(name)
    # Without one TensorRT takes the shapes that are fixed.
    if dynamic and config.add_optimization_profile(profile) != 0:
        raise EngineFailed(f"{request.model_path}: tensorrt does not take the shapes to compile for of {dynamic}")


def _quantised_types(network: Any, trt: Any) -> frozenset[str]:
    types = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.QUANTIZE:
            types.add(layer.get_output(0).dtype.name)
        elif layer.type == trt.LayerType.DEQUANTIZE:
            types.add(layer.get_input(0).dtype.name)
    return frozenset(types)


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return " | ".join(" ".join(f"{error.node_name() or 'the graph'}: {error.desc()}".split()) for error in errors[:3])


def _failed(request: EngineRequest, library: TensorRt, reason: str) -> EngineFailed:
    return EngineFailed(
        f"tensorrt {library.version} cannot load {request.model_path}: {reason}; convert the model again with "
        "operators of this version, or choose another backend"
    )


def _make_monitor(trt: Any, model: str) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Says which phase a build is in; TensorRT nests them, and the outer ones take minutes."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Say that a phase began."""
            say = log.debug if parent_phase else log.info
            say("tensorrt builds", extra={"model": model, "phase": phase_name, "steps": num_steps})

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Go on."""
            log.debug("tensorrt has built", extra={"model": model, "phase": phase_name, "step": step})
            return True

        def phase_finish(self, phase_name: str) -> None:
            """Say that a phase ended."""
            log.debug("tensorrt finished", extra={"model": model, "phase": phase_name})

    return Monitor()


def _is_within(value: str | int, smallest: int, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest
