"""The native libraries behind ONNX Runtime's providers: loaded where they lie, named where they are missing, quoted."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
from functools import cache
from pathlib import Path
from typing import Final

from hpi_agent.engines.base import MAX_REASON_CHARACTERS
from hpi_agent.engines.onnxruntime import import_onnxruntime
from hpi_agent.engines.onnxruntime_providers import CUDA, TENSORRT

TENSORRT_LIBRARIES: Final = ("libnvinfer.so.*", "libnvinfer_plugin.so.*", "libnvonnxparser.so.*")


@cache
def preload_libraries() -> str:
    """Load the libraries of CUDA, cuDNN and TensorRT that were installed as packages, and return what that printed.

    The loader finds them by itself only where they belong to the system, as in NVIDIA's images.
    """
    onnxruntime, said = import_onnxruntime(), io.StringIO()
    if hasattr(onnxruntime, "preload_dlls"):
        # It prints what it does not find, which is no error yet.
        with contextlib.redirect_stdout(said):
            onnxruntime.preload_dlls()
    found = importlib.util.find_spec("tensorrt_libs")
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        for pattern in TENSORRT_LIBRARIES:
            for library in sorted(Path(folder).glob(pattern)):
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return said.getvalue()


def why_missing(provider: str) -> str:
    """Return why a provider cannot be used, as the loader of libraries says it; empty: its libraries are all here.

    ONNX Runtime tells its log alone.
    """
    name = {CUDA: "cuda", TENSORRT: "tensorrt"}[provider]
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        return "onnxruntime is not installed as a package"
    library = Path(found.origin).parent / "capi" / f"libonnxruntime_providers_{name}.so"
    if not library.is_file():
        return f"this build has no {library.name}"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def loaded_tensorrt() -> int | None:
    """Return the major version of the TensorRT in this process, by the name of its library; None: none is loaded."""
    found = re.search(r"/libnvinfer\.so\.(\d+)", Path("/proc/self/maps").read_text())
    return None if found is None else int(found.group(1))


def reason_of(error: BaseException) -> str:
    """Return what an error of a provider says happened, at most 300 characters.

    Its messages name the places in its own sources that they went through (onnxruntime-gpu 1.31.1).
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if "CUDA failure" in text:
        text = text[text.rindex("CUDA failure") :].partition(" ; ")[0]
    text = _PLACE.sub("", _STATUS.split(text)[-1]).removesuffix(".")
    return text if len(text) <= MAX_REASON_CHARACTERS else text[: MAX_REASON_CHARACTERS - 1] + "…"


def advice_on_memory(limit_bytes: int | None, reason: str) -> str:
    """Return what to do where a provider met the limit of its memory; empty: the reason is another one.

    Args:
        limit_bytes: What it was given, None: no limit.
        reason: What `reason_of` made of its error (`bfc_arena.cc`).
    """
    if limit_bytes is None or "smaller than requested bytes" not in reason:
        return ""
    return f"{limit_bytes} bytes of the device are allowed: allow more (build.deviceMemoryBytes)"


_STATUS: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE: Final = re.compile(
    r"/?[\w/.-]+\.(?:cc|h):\d+ (?:(?:\S+ ){0,4}?\S*::\S+\([^)]*\) (?:\[with [^]]*\] )?|\w+(?:\(\))? )"
)
