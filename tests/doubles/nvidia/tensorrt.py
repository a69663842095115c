"""What `import tensorrt` finds while the double of TensorRT is presented."""

from __future__ import annotations

from doubles.tensorrt_build import (
    Builder,
    IBuilderConfig,
    IOptimizationProfile,
    ITimingCache,
)
from doubles.tensorrt_network import (
    ILayer,
    INetworkDefinition,
    ITensor,
    OnnxParser,
    ParserError,
)
from doubles.tensorrt_run import ICudaEngine, IExecutionContext, Runtime
from doubles.tensorrt_words import (
    VERSION,
    BuilderFlag,
    DataType,
    HardwareCompatibilityLevel,
    IHostMemory,
    ILogger,
    IOutputAllocator,
    IProgressMonitor,
    LayerType,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    TensorIOMode,
    TensorLocation,
    init_libnvinfer_plugins,
)

__version__ = VERSION

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "HardwareCompatibilityLevel",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IOutputAllocator",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "TensorIOMode",
    "TensorLocation",
    "init_libnvinfer_plugins",
]
