#!/usr/bin/env python3
"""Self-test of the variant `hpi-cpu`: run a tiny model on ONNX Runtime and on OpenVINO, compare; import the features.

    python -I hpi_cpu_self_test.py REPORT

Runs inside the new environment and needs nothing else. The report is one JSON object; exit status 0 means passed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

MODEL: Final = Path(__file__).resolve().with_name("self_test_model")
TOLERANCE: Final = 1e-4
"""Most that max |a − b| / max |a| may be; float32 on both engines."""
NATIVE_PARTS: Final = ("cv2", "pandas", "pyclipper", "pypdfium2", "shapely", "bidi", "ujson")
"""What PaddleX's pipelines import that is not of pure Python; PaddleX itself would write into a home."""


def run_onnxruntime(file: Path, feed: Any) -> Any:
    """Return what ONNX Runtime answers."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": feed})[0]


def run_openvino(file: Path, feed: Any) -> Any:
    """Return what OpenVINO answers, in float32 whatever the processor would like better."""
    import openvino

    compiled = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"x": feed})[0]


def main() -> None:
    """Run the test and write the report.

    Raises:
        SystemExit: It failed; the text says what.
    """
    expected = json.loads((MODEL / "answer.json").read_text())
    size = int(np.prod(expected["shape"]))
    feed = np.sin(np.arange(size) * float(expected["step"])).astype(np.float32).reshape(expected["shape"])
    answer = np.array([expected["answer"]], np.float32)
    differences = {}
    for run in (run_onnxruntime, run_openvino):
        obtained = run(MODEL / "inference.onnx", feed)
        differences[run.__name__] = float(np.abs(obtained - answer).max() / np.abs(answer).max())
    # Written so that a NaN fails as well.
    if not all(difference <= TOLERANCE for difference in differences.values()):
        raise SystemExit(f"answers differ from the expected one by {differences}; at most {TOLERANCE} is allowed")
    imported = NATIVE_PARTS if importlib.util.find_spec("paddlex") is not None else ()
    for module in imported:
        importlib.import_module(module)
    Path(sys.argv[1]).write_text(json.dumps({"differences": differences, "imported": imported}))


if __name__ == "__main__":
    main()
