"""An engine is named on nodes of the hardware that it is for, and on those of which nobody has told anything."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_operator.plan.engine_fit import could_serve
from support.kinds import manifest
from support.nodes import a_node
from support.observed import an_hpi_node

PROCESSORS: dict[str, Any] = {"formatVersion": 1, "device": "cpu", "threads": 4, "architecture": "x86_64"}
GPU: dict[str, Any] = {"vendor": "NVIDIA", "product": "NVIDIA A100-SXM4-40GB"}
NODE = {"processors": {"architecture": "x86_64", "isaLevel": "x86-64-v4", "isaFlags": ["avx512f"]}}
DEVICE = {"name": "g", "vendor": "NVIDIA", "product": "NVIDIA A100-SXM4-40GB", "count": 1, "memoryBytes": 40 << 30}


def fits(hardware_class: dict[str, Any], told: dict[str, Any] | None) -> bool:
    """Return whether an engine for a class of hardware could serve on a node."""
    document = manifest("HPIEngine")
    engine = HPIEngine.model_validate({**document, "spec": {**document["spec"], "hardwareClass": hardware_class}})
    status = {} if told is None else {"status": {"hardware": told}}
    return could_serve(engine, an_hpi_node(a_node("n"), **status))


def with_gpu(**fields: Any) -> dict[str, Any]:
    return {**PROCESSORS, "device": "gpu", "accelerator": {**GPU, **fields}}


@pytest.mark.parametrize(
    ("hardware_class", "told", "expected"),
    [
        (PROCESSORS, NODE, True),
        ({**PROCESSORS, "isaLevel": "x86-64-v4", "isaFlags": ["avx512f"]}, NODE, True),
        ({**PROCESSORS, "isaLevel": "x86-64-v3"}, NODE, False),
        ({**PROCESSORS, "isaFlags": ["avx512f", "amx"]}, NODE, False),
        ({**PROCESSORS, "architecture": "aarch64"}, NODE, False),
        # How much of it a pod may use is the pod's.
        ({**PROCESSORS, "threads": 64, "memoryGibibytes": 1}, NODE, True),
        (with_gpu(), NODE, False),
        (with_gpu(), {**NODE, "devices": [DEVICE]}, True),
        (with_gpu(memoryGibibytes=40), {**NODE, "devices": [DEVICE]}, True),
        (with_gpu(memoryGibibytes=80), {**NODE, "devices": [DEVICE]}, False),
        (with_gpu(product="NVIDIA L4"), {**NODE, "devices": [DEVICE]}, False),
        (with_gpu(slice="1g.5gb"), {**NODE, "devices": [DEVICE]}, False),
        (PROCESSORS, {}, True),
    ],
)
def test_an_engine_could_serve_where_nothing_that_is_told_speaks_against_it(
    hardware_class: dict[str, Any], told: dict[str, Any], expected: bool
) -> None:
    assert fits(hardware_class, told) is expected
