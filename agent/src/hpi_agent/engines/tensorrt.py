"""TensorRT 10 on an NVIDIA GPU, from the model file or from the plan that was built of it before.

**One execution context, one stream and a lock.** Calls from several threads are answered one after the other. A
second context would take the memory of all intermediate results again (gigabytes for a detector of pages), while the
kernels of both would take turns on one GPU; and memory that is fixed when an engine loads is memory that no request
can run out of.

Buffers are made for the largest shapes when the engine loads, so that a device that is too small says so then. They
grow only for outputs whose size depends on the values computed.

Nothing here has run on a GPU: see `README.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained
from hpi_agent.engines.cuda_runtime import CudaDevice
from hpi_agent.engines.onnx_file import Declared
from hpi_agent.engines.sealed_bytes import Unsealed, unseal
from hpi_agent.engines.shape_profiles import check_within, profiles_for
from hpi_agent.engines.signature import check_signature
from hpi_agent.engines.tensorrt_builder import KIND, build_plan, engine_name, facts_of, read_build_options
from hpi_agent.engines.tensorrt_execution import Execution, LoadedPlan
from hpi_agent.engines.tensorrt_library import DTYPES, TensorRt, load_tensorrt
from hpi_agent.engines.tensorrt_precision import check_device
from hpi_core.errors import EngineFailed, Refused, TooLarge

TAKEN: Final = frozenset(DTYPES.values())
"""Types of inputs and outputs. TensorRT's parser would read float64 as float32, in silence."""


class TensorRtSession:
    """One model in TensorRT."""

    def __init__(self, request: EngineRequest, declared: Declared) -> None:
        """Load a model.

        Args:
            request: What is asked; its profiles say which shapes will come. Options: `optimization_level` (0 to 5; 3 is
                the default) and `workspace_mebibytes` (most scratch memory of one kernel; `all` is the default).
            declared: What the model file declares.

        Raises:
            Refused: The device is not there, a profile is missing or does not fit, an option is out of
                bounds, or the model takes or gives a type that TensorRT has not.
            TooLarge: The engine needs more memory of the device than the request allows.
            EngineFailed: TensorRT cannot build or load the model, or the plan is damaged or made for something else.
        """
        self._path = request.model_path
        self.inputs = declared.inputs
        self.outputs = declared.outputs
        self._profiles = profiles_for(request, declared.inputs)
        library, self._device = _prepare(request, declared)
        self._running = threading.Lock()
        names = {spec.name: engine_name(spec.name, declared) for spec in declared.inputs}
        with ExitStack() as stack:
            plan = self._load(request, declared, library)
            stack.callback(plan.close)
            check_signature(request, declared, plan.signature(names), every_input=False)
            needed_bytes = plan.bytes + plan.context_bytes
            check_memory(request, needed_bytes)
            largest = {spec.name: () for spec in declared.inputs} | {
                profile.name: profile.largest for profile in self._profiles
            }
            self._execution = Execution(plan, self._device, names, largest, declared.outputs)
            stack.callback(self._execution.close)
            check_memory(request, needed_bytes + self._execution.buffer_bytes)
            self._resources = stack.pop_all()
        self.obtained = Obtained(
            backend="tensorrt",
            version=library.version,
            precision=request.precision,
            threads=plan.threads,
            device=self._device.facts.name,
            from_store=request.built is not None,
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in declared order.

        Raises:
            Refused: A shape lies outside what the engine was built for.
            EngineFailed: TensorRT failed on these arrays.
        """
        check_within(self._profiles, feeds)
        with self._running:
            try:
                self._device.select()
                return self._execution.run(feeds)
            except EngineFailed as error:
                raise EngineFailed(f"tensorrt failed inside {self._path}: {error}") from error

    def close(self) -> None:
        """Free the context, the buffers and the stream, then the engine and the runtime."""
        self._device.select()
        self._resources.close()

    def _load(self, request: EngineRequest, declared: Declared, library: TensorRt) -> LoadedPlan:
        sealed = request.built
        if sealed is None:
            sealed = build_plan(request, declared, self._profiles, library, self._device.facts)
        plan = open_plan(request, sealed, facts_of(request, library, self._device.facts, self._profiles))
        try:
            return LoadedPlan(library, plan, request.threads)
        except EngineFailed as error:
            raise EngineFailed(
                f"tensorrt {library.version} cannot load the built form of {self._path}: {error}; build it again"
            ) from error


def build_with_tensorrt(request: EngineRequest, declared: Declared) -> bytes:
    """Build a model and return its sealed plan; raises what `TensorRtSession` raises."""
    profiles = profiles_for(request, declared.inputs)
    library, device = _prepare(request, declared)
    return build_plan(request, declared, profiles, library, device.facts)


def open_plan(request: EngineRequest, sealed: bytes, facts: Mapping[str, Any]) -> memoryview:
    """Return the plan under a seal that says what the request wants.

    TensorRT itself ends the process on some plans of others, so nothing reaches it that the seal does not vouch for.

    Raises:
        EngineFailed: The bytes are damaged, or the plan was built for something else; the text names both.
    """
    try:
        found, plan = unseal(KIND, sealed)
    except Unsealed as error:
        raise EngineFailed(
            f"the built form of {request.model_path} is no whole plan: {error}; build it again"
        ) from error
    differing = [name for name in sorted({*found, *facts}) if found.get(name) != facts.get(name)]
    if differing:
        built, wanted = (", ".join(f"{name} {of.get(name)}" for name in differing) for of in (found, facts))
        raise EngineFailed(
            f"the built form of {request.model_path} was built for {built}, wanted is {wanted}; build it again"
        )
    return plan


def check_memory(request: EngineRequest, needed_bytes: int) -> None:
    """Refuse an engine that takes more of the device than the request allows.

    Raises:
        TooLarge: It does; the text has both.
    """
    limit = request.device_memory_bytes
    if limit is not None and needed_bytes > limit:
        raise TooLarge(
            f"{request.model_path} needs {needed_bytes} bytes of {request.device} for its largest shapes, {limit} are "
            "allowed; narrow the shapes to compile for, or allow more"
        )


def _prepare(request: EngineRequest, declared: Declared) -> tuple[TensorRt, CudaDevice]:
    """Check what needs no device, then select it."""
    foreign = [f"{spec.name} {spec.dtype}" for spec in (*declared.inputs, *declared.outputs) if spec.dtype not in TAKEN]
    if foreign:
        raise Refused(
            f"{request.model_path}: {foreign} are of types that tensorrt does not take or give; allowed: "
            f"{', '.join(sorted(TAKEN))}; choose the backend onnxruntime"
        )
    read_build_options(request)
    library = load_tensorrt()
    device = CudaDevice(request.device.index)
    check_device(request.precision, device.facts)
    return library, device
