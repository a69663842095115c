"""What this machine has: devices by their drivers, and packages by importing each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.nvidia_driver import describe_gpu
from hpi_core.errors import EngineFailed

ROOT: Final = Path(__file__).parents[2]
IMPORT_SECONDS: Final = 90
DETECT_SECONDS: Final = 60
PACKAGES: Final = {
    "onnxruntime": "import onnxruntime as m; print(m.__version__, m.get_available_providers())",
    "tensorrt": "import tensorrt as m; print(m.__version__)",
    "nvinfer": "import sys; from hpi_agent.engines import onnxruntime_libraries as m; m.preload_libraries(); "
    "missing = m.why_missing(m.TENSORRT); print(m.loaded_tensorrt()); sys.exit(missing or 0)",
    "cuda": "from importlib.metadata import distributions; from hpi_agent.engines.cuda_runtime import "
    "import_cuda_runtime; m = import_cuda_runtime(); names = ('cuda-bindings', 'cuda-python'); "
    "print(m.__name__, *{one.version for one in distributions() if one.name in names})",
    "paddle": "import paddle as m; d = m.device; print(m.__version__, m.is_compiled_with_cuda(), "
    "d.get_all_custom_device_type())",
    "acl": "import acl; print(acl.__file__)",
    **{
        name: f"import {name} as m; print(m.__version__)" for name in ("pytest", "onnx", "hypothesis", "skimage", "PIL")
    },
}
"""What says of each package that it is usable. `nvinfer` is TensorRT as onnxruntime finds it: that lists its provider
with and without."""
OF_THE_SUITE: Final = ("pytest", "onnx", "hypothesis", "skimage", "PIL")
"""What the whole conformance suite imports."""


def environment(**changes: str) -> dict[str, str]:
    """Return the variables of a child: our packages from this checkout, and no telemetry."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("agent/src", "crds/src", "tests"))
    return {**os.environ, "PYTHONPATH": paths, "ORT_DISABLE_TELEMETRY": "1", **changes}


def gpus() -> list[dict[str, Any]] | str:
    """Return the GPUs that this process sees, or why there is none."""
    found: list[dict[str, Any]] = []
    try:
        while len(found) < 16:
            gpu = describe_gpu(len(found))
            found.append(
                {
                    "name": gpu.name,
                    "computeCapability": ".".join(map(str, gpu.compute_capability)),
                    "memoryBytes": gpu.memory_bytes,
                }
            )
    except EngineFailed as error:
        return found or str(error)
    return found


def npus() -> list[str]:
    """Return the device files of NPUs."""
    return sorted(str(path) for path in Path("/dev").glob("davinci[0-9]*"))


def packages() -> dict[str, str | None]:
    """Return what each package says of itself, or None for one that is not installed; or why it cannot be imported."""
    return {name: _import(script) for name, script in PACKAGES.items()}


def _import(script: str) -> str | None:
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=IMPORT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"does not import within {IMPORT_SECONDS} s"
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1]
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return None if last.startswith("ModuleNotFoundError") else f"cannot be imported: {last}"


def detected() -> Any:
    """Return what `hpi-agent detect` says of this machine, or why it cannot."""
    command = [sys.executable, "-m", "hpi_agent", "detect", "--output", "json"]
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=DETECT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"gave no answer within {DETECT_SECONDS} s"
    try:
        return json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
