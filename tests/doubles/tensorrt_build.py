"""The double of TensorRT's builder: what is configured is checked as TensorRT checks it, and a plan is written."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from doubles.gpus import MACHINE
from doubles.onnx_graph import Graph, ShapeFailure
from doubles.tensorrt_network import INetworkDefinition, is_strongly_typed
from doubles.tensorrt_words import (
    VERSION,
    BuilderFlag,
    HardwareCompatibilityLevel,
    IHostMemory,
    ILogger,
    IProgressMonitor,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ProcessEnds,
    checked,
    error,
    has_device,
)

MAGIC: Final = b"ftrt-double\0"
CACHE_MAGIC: Final = b"timing-cache-double\0"
NARROWING: Final = (BuilderFlag.FP16, BuilderFlag.BF16, BuilderFlag.INT8, BuilderFlag.FP8)
MAX_TRIED: Final = 100_000
"""Most elements of shapes that a build tries; TensorRT proves it without computing."""


class ITimingCache:
    """Measurements of kernels, by the device and release that they were made on."""

    def __init__(self, made_on: dict[str, Any], entries: dict[str, int]) -> None:
        self.made_on, self.entries = made_on, entries

    def serialize(self) -> IHostMemory:
        return IHostMemory(CACHE_MAGIC + json.dumps([self.made_on, self.entries]).encode())

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        checked(input_cache, ITimingCache, "combine")
        if input_cache.made_on != self.made_on and not ignore_mismatch:
            return False
        self.entries = {**input_cache.entries, **self.entries}
        return True


class IOptimizationProfile:
    """The shapes of every input."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - the published names
        shapes = (tuple(min), tuple(opt), tuple(max))
        if len({len(shape) for shape in shapes}) != 1 or not all(
            0 <= low <= usual <= high for low, usual, high in zip(*shapes, strict=True)
        ):
            raise ValueError("Shape provided for min is inconsistent with other shapes.")
        self.shapes[input] = shapes


class IBuilderConfig:
    """What a build may do."""

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self.set_flags = {BuilderFlag.TF32}
        self.profiles: list[IOptimizationProfile] = []
        self.pools: dict[MemoryPoolType, int] = {}
        self.cache: ITimingCache | None = None
        self._level = 3
        self._monitor: IProgressMonitor | None = None
        self._compatibility = HardwareCompatibilityLevel.NONE

    def set_flag(self, flag: BuilderFlag) -> None:
        self.set_flags.add(checked(flag, BuilderFlag, "set_flag"))

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.set_flags.discard(checked(flag, BuilderFlag, "clear_flag"))

    def get_flag(self, flag: BuilderFlag) -> bool:
        return checked(flag, BuilderFlag, "get_flag") in self.set_flags

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[checked(pool, MemoryPoolType, "set_memory_pool_limit")] = checked(pool_size, int, "pool_size")

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(checked(profile, IOptimizationProfile, "add_optimization_profile"))
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache | None:
        content = bytes(memoryview(serialized_timing_cache))
        if not content:
            return ITimingCache(this_device(), {})
        if not content.startswith(CACHE_MAGIC):
            raise ProcessEnds("a timing cache that TensorRT did not write")
        return ITimingCache(*json.loads(content[len(CACHE_MAGIC) :]))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if checked(cache, ITimingCache, "set_timing_cache").made_on != this_device() and not ignore_mismatch:
            error(self._logger, "The timing cache was made on another device")
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.cache

    @property
    def hardware_compatibility_level(self) -> HardwareCompatibilityLevel:
        return self._compatibility

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, level: HardwareCompatibilityLevel) -> None:
        self._compatibility = checked(level, HardwareCompatibilityLevel, "hardware_compatibility_level")

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        self._level = checked(level, int, "builder_optimization_level")

    @property
    def progress_monitor(self) -> IProgressMonitor | None:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: IProgressMonitor) -> None:
        self._monitor = checked(monitor, IProgressMonitor, "progress_monitor")


class Builder:
    """Makes plans."""

    def __init__(self, logger: ILogger) -> None:
        self._logger = checked(logger, ILogger, "Builder")
        if not has_device():
            error(logger, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._gpu = MACHINE.current
        self._threads = 1

    @property
    def max_threads(self) -> int:
        return self._threads

    @max_threads.setter
    def max_threads(self, threads: int) -> None:
        self._threads = checked(threads, int, "max_threads")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        known = 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED | 1 << NetworkDefinitionCreationFlag.EXPLICIT_BATCH
        assert not checked(flags, int, "create_network") & ~known
        return INetworkDefinition(flags, self._logger)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        checked(network, INetworkDefinition, "build_serialized_network")
        checked(config, IBuilderConfig, "build_serialized_network")
        if network.graph is None or network.weights is None or network.weights() is None:
            raise ProcessEnds("the weights went with the parser")
        problem = _problem(network, config)
        if problem is not None:
            error(self._logger, f"IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error ({problem})")
            return None
        if not self._measure(network.graph, config):
            return None
        described = {
            **this_device(),
            "gpu": self._gpu,
            "flags": sorted(flag.name for flag in config.set_flags),
            "level": config.builder_optimization_level,
            "workspace": config.pools.get(MemoryPoolType.WORKSPACE),
            "profiles": [profile.shapes for profile in config.profiles],
        }
        return IHostMemory(MAGIC + json.dumps(described).encode() + b"\0" + network.graph.content)

    def _measure(self, graph: Graph, config: IBuilderConfig) -> bool:
        monitor, cache = config.progress_monitor, config.cache
        if cache is None:
            cache = config.cache = ITimingCache(this_device(), {})
        nodes = graph.proto.graph.node
        shapes = [profile.shapes for profile in config.profiles]
        if monitor is not None:
            monitor.phase_start("Building Engine", "", len(nodes))
        for number, node in enumerate(nodes):
            key = hashlib.sha256(f"{node.op_type} {shapes}".encode()).hexdigest()
            if key not in cache.entries:
                MACHINE.measured += 1
                cache.entries[key] = number
            if monitor is not None and not monitor.step_complete("Building Engine", number):
                return False
        if monitor is not None:
            monitor.phase_finish("Building Engine")
        return True


def this_device() -> dict[str, Any]:
    """Return what plans and timings belong to."""
    return {"version": VERSION, "capability": list(MACHINE.gpus[MACHINE.current].capability)}


def _problem(network: INetworkDefinition, config: IBuilderConfig) -> str | None:
    graph = network.graph
    assert graph is not None
    narrowing = [flag.name for flag in NARROWING if flag in config.set_flags]
    if is_strongly_typed(network) and narrowing:
        return f"{narrowing} cannot be set with a strongly typed network"
    if not is_strongly_typed(network) and graph.is_partly_half and BuilderFlag.FP16 not in config.set_flags:
        return "fp16 precision has been set for a layer or layer output, but fp16 is not configured in the builder"
    if not is_strongly_typed(network) and graph.is_quantised and BuilderFlag.INT8 not in config.set_flags:
        return "int8 precision has been set for a layer, but int8 is not configured in the builder"
    if not 0 <= config.builder_optimization_level <= 5:
        return "the optimization level is out of range"
    if not config.profiles and any(-1 in tensor.shape for tensor in network.inputs):
        return "network has dynamic or shape inputs, but no optimization profile has been defined"
    return _problem_of_shapes(network, config)


def _problem_of_shapes(network: INetworkDefinition, config: IBuilderConfig) -> str | None:
    graph = network.graph
    assert graph is not None
    for profile in config.profiles:
        for which, label in enumerate(("kMIN", "kOPT", "kMAX")):
            shapes = []
            for tensor, value in zip(network.inputs, graph.inputs, strict=True):
                given = profile.shapes.get(tensor.name)
                if given is None and -1 in tensor.shape:
                    return f"{tensor.name}: optimization profile is missing values for shape input or dynamic input"
                shape = given[which] if given else tuple(tensor.shape)
                if len(shape) != len(tensor.shape) or any(
                    fixed not in (-1, size) for fixed, size in zip(tensor.shape, shape, strict=True)
                ):
                    return f"{tensor.name}: {label} shape {shape} is no shape of {tuple(tensor.shape)}"
                shapes.append((value.name, tuple(shape)))
            if sum(size for _, shape in shapes for size in [_elements(shape)]) <= MAX_TRIED:
                try:
                    graph.infer(tuple(shapes))
                except ShapeFailure as failure:
                    return f"{label} of the profile is not possible: {failure}"
    return None


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
