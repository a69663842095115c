"""The settings of ONNX Runtime's providers for GPUs: names, defaults, and what is refused.

Source:
    CUDA: `onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc` (1.30); the library of onnxruntime-gpu
    1.31.1 took every name and value that the engines give and refused others in these words, without a device.
    TensorRT: `onnxruntime/core/providers/tensorrt/tensorrt_execution_provider_info.cc` and the values that
    `CreateExecutionProviderFactoryInstance` of `onnxruntime/python/onnxruntime_pybind_state.cc` takes for each (1.30).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CUDA_DEFAULTS: Final[dict[str, str]] = {
    "arena_extend_strategy": "kNextPowerOfTwo",
    "cudnn_conv1d_pad_to_nc1d": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "cudnn_conv_use_max_workspace": "1",
    "device_id": "0",
    "do_copy_in_default_stream": "1",
    "enable_cuda_graph": "0",
    "fuse_conv_bias": "0",
    "gpu_mem_limit": str(2**64 - 1),
    "prefer_nhwc": "0",
    "use_ep_level_unified_stream": "0",
    "use_tf32": "1",
}
CUDA_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "arena_extend_strategy": ("kNextPowerOfTwo", "kSameAsRequested"),
    "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
}
TENSORRT_BOOLEANS: Final = (
    "trt_bf16_enable",
    "trt_build_heuristics_enable",
    "trt_context_memory_sharing_enable",
    "trt_cuda_graph_enable",
    "trt_detailed_build_log",
    "trt_dump_ep_context_model",
    "trt_dump_subgraphs",
    "trt_engine_cache_enable",
    "trt_engine_hw_compatible",
    "trt_force_sequential_engine_build",
    "trt_force_timing_cache",
    "trt_fp16_enable",
    "trt_int8_enable",
    "trt_layer_norm_fp32_fallback",
    "trt_timing_cache_enable",
)
TENSORRT_NUMBERS: Final = (
    "device_id",
    "trt_builder_optimization_level",
    "trt_ep_context_embed_mode",
    "trt_max_partition_iterations",
    "trt_max_workspace_size",
    "trt_min_subgraph_size",
)
TENSORRT_TEXTS: Final = (
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_ep_context_file_path",
    "trt_op_types_to_exclude",
    "trt_profile_max_shapes",
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_timing_cache_path",
)


def read_cuda(given: Mapping[str, str]) -> dict[str, str]:
    """Return all settings of the CUDA provider; raises RuntimeError where the real one does."""
    for name, value in given.items():
        if name not in CUDA_DEFAULTS:
            raise RuntimeError(f'Unknown provider option: "{name}".')
        if name in CUDA_WORDS:
            if value not in CUDA_WORDS[name]:
                raise RuntimeError(f'Failed to parse provider option "{name}": {value}')
        elif not value.isdigit() or (CUDA_DEFAULTS[name] in "01" and name != "device_id" and value not in "01"):
            raise RuntimeError(f'Failed to parse provider option "{name}": {value}')
    return {**CUDA_DEFAULTS, **given}


def read_tensorrt(given: Mapping[str, str]) -> dict[str, str]:
    """Return all settings of the TensorRT provider; raises RuntimeError where the real one does."""
    read = (
        dict.fromkeys(TENSORRT_BOOLEANS, "0") | dict.fromkeys(TENSORRT_NUMBERS, "0") | dict.fromkeys(TENSORRT_TEXTS, "")
    )
    for name, value in given.items():
        if name in TENSORRT_BOOLEANS:
            if value not in ("True", "true", "False", "false"):
                raise RuntimeError(f"[ERROR] [TensorRT] The value for the key '{name}' should be 'True' or 'False'.")
            read[name] = "1" if value.lower() == "true" else "0"
        elif name in TENSORRT_NUMBERS:
            read[name] = str(int(value))
        elif name in TENSORRT_TEXTS:
            if not value:
                raise RuntimeError(f"[ERROR] [TensorRT] The value for the key '{name}' should be a string.")
            read[name] = value
        else:
            raise RuntimeError(f"Invalid TensorRT EP option: {name}")
    return read
