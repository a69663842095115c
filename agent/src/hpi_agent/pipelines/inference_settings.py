"""What a manifest asks of inference and of building, and what of it this release cannot honour; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hpi_agent.engines.base import CPU, Device
from hpi_agent.pipelines.device import read_device
from hpi_agent.pipelines.ocr_config import JsonObject
from hpi_core.api.v1alpha1.pipeline import Build, Inference
from hpi_core.errors import Refused
from hpi_core.names import ENV_DEVICE

OTHER_ENGINES: Final = frozenset(
    {"paddle", "paddle_static", "paddle_dynamic", "flexible", "transformers", "onnxruntime", "genai_client"}
)
"""PaddleX's engines beside `hpi` (3.7.2)."""


def inference_problems(inference: Inference, path: str) -> Iterator[str]:
    """Yield what is asked of inference and cannot be honoured; the device is not looked at.

    Args:
        inference: Of the whole pipeline or of one module.
        path: Where it stands in the manifest.
    """
    if inference.use_hpip is False:
        yield f"{path}.useHpip: must not be false here: this release serves every model by high-performance inference"
    if inference.hpi_config is not None and inference.engine_config is not None:
        yield f"{path}: hpiConfig and engineConfig mean the same for the engine hpi; set one"
    others = sorted(set(inference.engine_config or {}) & OTHER_ENGINES)
    if others:
        yield f"{path}.engineConfig: this release serves the engine 'hpi', got settings of {', '.join(others)}"
    if not isinstance((inference.engine_config or {}).get("hpi", {}), dict):
        yield f"{path}.engineConfig.hpi: must be a mapping, got {(inference.engine_config or {})['hpi']!r}"


def build_problems(build: Build) -> Iterator[str]:
    """Yield what is asked of the building of engines and cannot be honoured."""
    if build.mode != "Latency":
        yield f"spec.build.mode: must be 'Latency' in this release, got {build.mode!r}"
    if build.shapes != "Declared":
        yield f"spec.build.shapes: must be 'Declared' in this release, got {build.shapes!r}"


def device_or_problem(written: str | None, path: str, problems: list[str]) -> Device:
    """Return the device that is asked for; what is wrong with it joins the problems, and the processors stand in."""
    try:
        return read_device(written)
    except Refused as refused:
        problems.append(f"{path}: {refused}")
        return CPU


def device_of(asked: str | None, given: str | None, problems: list[str]) -> Device:
    """Return the device that computes: the one asked for, else the one that the pod was given, else the processors.

    Args:
        asked: `spec.inference.device`, or None.
        given: What `$HPI_DEVICE` says, or None: this is no pod of a cluster.
        problems: What is wrong with either joins them, and that they are of two kinds.
    """
    if not given:
        return device_or_problem(asked, "spec.inference.device", problems)
    pod = device_or_problem(given, f"${ENV_DEVICE}", problems)
    if asked is None:
        return pod
    device = device_or_problem(asked, "spec.inference.device", problems)
    if device.kind != pod.kind and not problems:
        problems.append(
            f"spec.inference.device: is {asked}, and this pod was placed on {given} (${ENV_DEVICE}); take it out, or "
            "name the class of hardware that has it in spec.placement.accelerators"
        )
    return device


def hpi_settings(inference: Inference) -> JsonObject | None:
    """Return the settings of the engine `hpi` in PaddleX's words, or None: there are none."""
    if inference.engine_config is not None:
        # PaddleX takes the settings of one engine, or those of several under the names of the engines.
        one = inference.engine_config.get("hpi", inference.engine_config)
        return one if isinstance(one, dict) else {}
    return None if inference.hpi_config is None else inference.hpi_config.to_paddlex()
