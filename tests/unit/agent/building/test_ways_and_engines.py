"""What is chosen among is what loads: every precision of every way is one that its engine computes in."""

from __future__ import annotations

import pytest

from hpi_agent.engines import om, onnxruntime_providers, paddle_request
from hpi_agent.engines.tensorrt_precision import ARITHMETIC
from hpi_agent.select.ways import CPU, GPU, NPU, Way
from hpi_core.formats import Precision


def precisions_of_engine(way: Way) -> set[Precision]:
    """Return the precisions that the engine of a way says it computes in."""
    if way.backend == "paddle":
        return set(paddle_request.PRECISIONS[way.device, str(way.run_mode)])
    if way.backend == "onnxruntime":
        return set(onnxruntime_providers.PRECISIONS["cpu" if way.mode is None else str(way.mode[1])])
    return set({"tensorrt": tuple(ARITHMETIC), "om": om.PRECISIONS, "openvino": ("float32", "bfloat16")}[way.backend])


@pytest.mark.parametrize("way", [*CPU, *GPU, *NPU], ids=lambda way: f"{way.pseudo}-{way.device}")
def test_a_way_has_exactly_the_precisions_of_its_engine(way: Way) -> None:
    assert {*way.precisions, *way.reduced, *way.named} == precisions_of_engine(way)


@pytest.mark.parametrize("way", [way for way in GPU if way.backend == "onnxruntime"], ids=lambda way: way.pseudo)
def test_an_execution_provider_is_one_of_the_device(way: Way) -> None:
    assert way.mode is not None
    assert way.mode[1] in onnxruntime_providers.PROVIDERS_OF_DEVICE[way.device]
