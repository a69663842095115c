"""Print what an installed release of the Python bindings of TensorRT or CUDA publishes, as the files here hold it.

    python recorder.py tensorrt > tensorrt-10.16.1.11.json
    python recorder.py cuda.bindings.runtime > cuda-12.9.10.json

No GPU is needed: names, parameters and members of enumerations are in the bindings themselves. Those of TensorRT load
its libraries, and take empty ones that export the nine functions that they link to.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys
from typing import Any, Final

TENSORRT_CLASSES: Final = (
    "Builder",
    "IBuilderConfig",
    "ICudaEngine",
    "IErrorRecorder",
    "IExecutionContext",
    "IHostMemory",
    "ILayer",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProgressMonitor",
    "ITensor",
    "ITimingCache",
    "OnnxParser",
    "ParserError",
    "Runtime",
)
ENUMERATIONS: Final = (
    "BuilderFlag",
    "DataType",
    "HardwareCompatibilityLevel",
    "LayerType",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "TensorIOMode",
    "TensorLocation",
    "cudaDeviceAttr",
    "cudaError_t",
    "cudaMemcpyKind",
)
CUDA_FUNCTIONS: Final = (
    "cudaDeviceGetAttribute",
    "cudaFree",
    "cudaGetDeviceCount",
    "cudaGetDeviceProperties",
    "cudaGetErrorName",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaMalloc",
    "cudaMemGetInfo",
    "cudaMemcpyAsync",
    "cudaSetDevice",
    "cudaStreamCreateWithFlags",
    "cudaStreamDestroy",
    "cudaStreamSynchronize",
)
MAX_MEMBERS: Final = 64


def parameters_of(documentation: str, name: str) -> list[list[str]]:
    """Return the names of the parameters of every overload, without `self`, from the text that describes a function."""
    overloads = []
    for found in re.finditer(rf"(?:^|\b){re.escape(name)}\(", documentation):
        inside = _until_closed(documentation[found.end() :])
        names = [_name_of(part) for part in _split(inside)]
        if "*args" not in names:
            overloads.append([one for one in names if one not in ("self", "")])
    return overloads


def _until_closed(text: str) -> str:
    depth = 1
    for position, character in enumerate(text):
        depth += (character in "([<") - (character in ")]>")
        if depth == 0:
            return text[:position]
    return text


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([<{") - (character in ")]>}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _name_of(part: str) -> str:
    # `self: Builder`, `size_t count`, `kind: cudaMemcpyKind`, `flags: int = 0`.
    words = part.partition("=")[0].partition(":")[0].split()
    return words[-1] if words else ""


def record_class(found: Any) -> tuple[dict[str, list[list[str]]], dict[str, str]]:
    """Return the methods of a class with their parameters, and its properties: `r`, `w` or `rw`."""
    methods, properties = {}, {}
    for name in dir(found):
        member = getattr(found, name)
        if isinstance(member, property):
            properties[name] = ("r" if member.fget else "") + ("w" if member.fset else "")
        elif callable(member) and (name == "__init__" or not name.startswith("_")):
            overloads = parameters_of(member.__doc__ or "", name)
            # A network is made by the parser alone.
            if overloads and not (found.__name__ == "INetworkDefinition" and name.startswith("add_")):
                methods[name] = overloads
    return methods, properties


def record(module: Any) -> dict[str, Any]:
    """Return what a module publishes."""
    calls: dict[str, list[list[str]]] = {}
    properties: dict[str, str] = {}
    for class_name in TENSORRT_CLASSES:
        if hasattr(module, class_name):
            methods, its_properties = record_class(getattr(module, class_name))
            calls |= {f"{class_name}.{name}": overloads for name, overloads in methods.items()}
            properties |= {f"{class_name}.{name}": access for name, access in its_properties.items()}
    for name in (*CUDA_FUNCTIONS, "init_libnvinfer_plugins"):
        if hasattr(module, name):
            calls[name] = parameters_of((getattr(module, name).__doc__ or "").strip().splitlines()[0], name)
    members = {
        name: {key: int(value) for key, value in getattr(module, name).__members__.items()}
        for name in ENUMERATIONS
        if hasattr(module, name)
    }
    return {"calls": calls, "properties": properties, "members": members}


def main(name: str) -> None:
    """Print what one module publishes."""
    found = record(importlib.import_module(name))
    for members in found["members"].values():
        if len(members) > MAX_MEMBERS:
            kept = ("Success", "Invalid", "Memory", "Illegal", "NoDevice", "Insufficient", "ComputeCapability")
            for key in [key for key in members if not any(word in key for word in kept)]:
                del members[key]
    print(json.dumps(found, indent=1, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1])
