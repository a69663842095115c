"""The execution providers of ONNX Runtime: what is asked of each, what was obtained, and which nodes run where; pure.

Which nodes may lie on the CPU provider is decided here. `session.disable_cpu_ep_fallback` is not the means: ONNX
Runtime moves nodes that compute with shapes to the processors on purpose (`fallback_cpu_capability.cc`), and with that
option one `Shape` fails a whole model, such as every recogniser of PP-OCR. So every session records its placement,
shapes may be computed on the processors, and any other node there fails the load. Releases before 1.24 record nothing;
with them the option is all there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hpi_agent.engines.base import EngineRequest, ShapeProfile, TensorSpec
from hpi_agent.engines.options import read_options
from hpi_agent.engines.shape_profiles import written
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

ProviderWord = Literal["cpu", "cuda", "tensorrt"]

PRECISIONS: Final[Mapping[str, tuple[Precision, ...]]] = {
    "cpu": ("float32",),
    "cuda": ("float32", "tf32"),
    "tensorrt": ("float32", "tf32", "float16"),
}
PROVIDERS_OF_DEVICE: Final[Mapping[str, tuple[str, ...]]] = {"cpu": ("cpu",), "gpu": ("cuda", "tensorrt")}
OPTIMIZATIONS: Final = ("all", "off")

_SHAPE_OPERATORS = """
Abs Add And Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Flatten Floor Gather GatherElements GatherND
Greater GreaterOrEqual Identity If Less LessOrEqual Loop Max Min Mod Mul Neg Not Or Range ReduceMax ReduceMin ReduceProd
ReduceSum Reshape ScatterElements ScatterND Shape Size Slice Split Squeeze Sub Tile Unsqueeze Where
"""
SHAPE_OPERATORS: Final = frozenset(_SHAPE_OPERATORS.split())
"""Operators that compute with shapes and indices, which ONNX Runtime may place on the processors. They work on large
tensors too, so how many there are is said in `Obtained.device`."""


@dataclass(frozen=True)
class Provider:
    """One execution provider and its settings, as ONNX Runtime takes them."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Placed:
    """Nodes that ONNX Runtime gave to one provider together."""

    provider: str
    operators: tuple[str, ...]


def read_provider(request: EngineRequest) -> tuple[ProviderWord, bool]:
    """Return which execution provider a request asks for, and whether the graph is optimised.

    Raises:
        Refused: An option is not allowed, the provider does not compute on the device of the request, or it does not
            compute in its precision.
    """
    options = read_options(request, {"graph_optimization": "all", "execution_provider": "cpu"})
    provider, optimization = options["execution_provider"], options["graph_optimization"]
    allowed = PROVIDERS_OF_DEVICE[request.device.kind]
    if provider not in allowed:
        raise Refused(
            f"execution_provider must be one of {', '.join(allowed)} on the device {request.device}, got {provider!r}"
        )
    word: ProviderWord = "cuda" if provider == "cuda" else "tensorrt" if provider == "tensorrt" else "cpu"
    if request.precision not in PRECISIONS[word]:
        if word == "cpu":
            raise Refused(
                f"onnxruntime computes in float32 on the CPU, got {request.precision}; choose the backend openvino"
            )
        raise Refused(
            f"onnxruntime computes in {', '.join(PRECISIONS[word])} with execution_provider {word!r}, "
            f"got {request.precision}"
        )
    if optimization not in OPTIMIZATIONS:
        raise Refused(f"graph_optimization must be one of {', '.join(OPTIMIZATIONS)}, got {optimization!r}")
    if word == "tensorrt" and optimization == "off":
        raise Refused("graph_optimization 'off' has no meaning where TensorRT compiles the graph; leave it out")
    return word, optimization == "all"


def cuda_provider(request: EngineRequest, inputs: Sequence[TensorSpec]) -> Provider:
    """Return what is asked of the CUDA provider.

    How cuDNN searches its algorithms is decided by the shapes: whenever another one comes, be it known or not, the call
    is slow, least of all with `DEFAULT`, which has the slowest kernels. On an H100 (onnxruntime-gpu 1.31.1, cuDNN 9.19,
    float32), the PP-OCRv6 small detector at 1x3x736x1472 and recogniser at 6x3x48x480, in ms:

                                HEURISTIC       EXHAUSTIVE      DEFAULT
        another shape comes     390, 1600       1100, 2200      137, 180
        the same shape again    5.8, 4.5        5.6, 5.6        107, 90

    A page has batches of several widths: 2871 ms with `HEURISTIC`, 447 with `DEFAULT`. Price: a model with free
    dimensions that meets one shape alone is up to 20 times as slow as it could be; fix the dimensions in its file.
    """
    free = any(None in spec.shape for spec in inputs)
    options = {
        "device_id": str(request.device.index),
        # On unless it is switched off: TF32 is a precision of its own here.
        "use_tf32": "1" if request.precision == "tf32" else "0",
        "cudnn_conv_algo_search": "DEFAULT" if free else "HEURISTIC",
        # By powers of two the arena may take twice what the model needs, of a device that several models share.
        "arena_extend_strategy": "kSameAsRequested",
        # Copies on a stream of their own may overtake the computation.
        "do_copy_in_default_stream": "1",
    }
    if request.device_memory_bytes is not None:
        options["gpu_mem_limit"] = str(request.device_memory_bytes)
    return Provider(CUDA, options)


def tensorrt_provider(
    request: EngineRequest, inputs: Sequence[TensorSpec], profiles: Sequence[ShapeProfile]
) -> Provider:
    """Return what is asked of the TensorRT provider, for building and for loading alike.

    It alone, without the CUDA provider behind it: what TensorRT does not take fails the load instead of being computed
    by another library in another precision.
    """
    options = {
        "device_id": str(request.device.index),
        "trt_fp16_enable": _boolean(request.precision == "float16"),
        # One build at a time in a process: two that measure kernels side by side measure each other.
        "trt_force_sequential_engine_build": "True",
        # Engines for several GPUs are slower on each; the store has one for each class.
        "trt_engine_hw_compatible": "False",
        # The built form is a file of the store; this provider's own cache is keyed by names alone.
        "trt_engine_cache_enable": "False",
    }
    free = {spec.name for spec in inputs if None in spec.shape}
    ranges = [profile for profile in profiles if profile.name in free]
    if ranges:
        options["trt_profile_min_shapes"] = written(ranges, lambda profile: profile.smallest)
        options["trt_profile_opt_shapes"] = written(ranges, lambda profile: profile.usual)
        options["trt_profile_max_shapes"] = written(ranges, lambda profile: profile.largest)
    if request.device_memory_bytes is not None:
        options["trt_max_workspace_size"] = str(request.device_memory_bytes)
    return Provider(TENSORRT, options)


def check_obtained(
    asked: Provider, device: str, names: Sequence[str], options: Mapping[str, Mapping[str, str]], reason: str
) -> None:
    """Fail unless a session has the provider asked for, first, and with the settings asked for.

    Args:
        asked: What was asked.
        device: Where it has to compute, for the message.
        names: Providers of the session, in order; ONNX Runtime always adds the CPU provider.
        options: Their settings, as the session tells them.
        reason: Why a provider may be missing, for the message.

    Raises:
        EngineFailed: It has others; the text names both sides.
    """
    if list(names) != [asked.name, CPU]:
        raise EngineFailed(
            f"onnxruntime was asked for {asked.name} on {device} and gives {list(names)}: {reason}; install the plugin "
            "variant of this node's driver, or choose another device"
        )
    told = options.get(asked.name, {})
    different = {
        name: (value, told[name])
        for name, value in asked.options.items()
        if name in told and _plain(told[name]) != _plain(value)
    }
    if different:
        raise EngineFailed(
            f"{asked.name} was asked for other settings than it has: "
            + ", ".join(f"{name} {value!r}, has {has!r}" for name, (value, has) in different.items())
            + "; install the onnxruntime build of this plugin variant"
        )


def describe_placement(request: EngineRequest, asked: Provider, placed: Sequence[Placed]) -> str:
    """Return which share of a model lies on the processors, for people; empty: none of it.

    Raises:
        EngineFailed: Nodes lie where they were not asked for; the text counts and names them.
    """
    counts = {one.provider: 0 for one in placed}
    for one in placed:
        counts[one.provider] += len(one.operators)
    elsewhere = sorted({name for one in placed if one.provider != asked.name for name in one.operators})
    total = sum(counts.values())
    taken = counts.get(asked.name, 0)
    if asked.name == TENSORRT:
        parts = sum(one.provider == TENSORRT for one in placed)
        if taken < total or parts > 1:
            rest = f"; the others: {', '.join(elsewhere)}" if elsewhere else ""
            raise EngineFailed(
                f"{request.model_path}: TensorRT takes {taken} of {total} nodes in {parts} part(s), and only a model "
                f"that it takes whole can be kept{rest}; choose execution_provider cuda"
            )
        return ""
    others = [name for name in elsewhere if name not in SHAPE_OPERATORS]
    if others or (total and not taken):
        raise EngineFailed(
            f"{request.model_path}: {asked.name} takes {taken} of {total} nodes, the rest would run on the processors: "
            f"{', '.join(others or elsewhere)}; choose another backend, or the device cpu"
        )
    if not elsewhere:
        return ""
    return f"{total - taken} of {total} nodes on the CPU: {', '.join(elsewhere)}"


def _boolean(value: bool) -> str:
    # This provider's own way to write it; the CUDA provider takes 0 and 1.
    return "True" if value else "False"


def _plain(value: str) -> str:
    return {"true": "1", "false": "0"}.get(value.lower(), value)
