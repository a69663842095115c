"""What PaddleX arrives at for each model, and the class of hardware that it would be built for."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.api.v1alpha1.build import Build
from hpi_core.api.v1alpha1.inference import Inference
from hpi_operator.plan.effective_request import hpi_settings, inherited_settings, is_listed_whole, wanted_models
from hpi_operator.plan.hardware import hardware_class, hardware_in_words
from hpi_operator.plan.observed import NodeGroup
from support.observed import CLASSES, a_digest, a_node_group, a_pipeline

NESTED = {
    "pipeline_name": "doc",
    "hpi_config": {"backend": "paddle", "auto_config": True},
    "SubModules": {"A": {"model_name": "a", "hpi_config": {"backend": "openvino"}}, "Off": {"module_name": "x"}},
    "SubPipelines": {
        "P": {
            "hpi_config": {"auto_config": False},
            "SubModules": {"B": {"model_name": "b"}, "C": {"model_name": "c", "hpi_config": {"backend": "om"}}},
        }
    },
}


def test_models_are_those_of_the_yaml_with_what_the_spec_says_of_them() -> None:
    pipeline = a_pipeline(
        pipeline=...,
        config={"inline": NESTED},
        modules=[
            {
                "path": "SubModules.A",
                "model": {"name": "other", "digest": a_digest("1"), "source": "https://m.example/a.onnx"},
            }
        ],
    )

    found = {one.name: (one.digest, one.format, dict(one.request)) for one in wanted_models(pipeline)}

    assert found == {
        "other": (a_digest("1"), "ONNX", {"backend": "openvino", "auto_config": True}),
        "b": (None, "Paddle", {"backend": "paddle", "auto_config": False}),
        "c": (None, "Paddle", {"backend": "om", "auto_config": False}),
    }


def test_a_module_alone_is_one_model() -> None:
    pipeline = a_pipeline(
        pipeline=...,
        module={"name": "text_detection", "model": {"name": "det", "format": "OM"}},
        inference={"hpiConfig": {"backend": "om"}},
    )

    [one] = wanted_models(pipeline)

    assert (one.name, one.format, dict(one.request)) == ("det", "OM", {"backend": "om"})


@pytest.mark.parametrize(
    ("path", "argument", "own", "expected"),
    [
        ("SubModules.A", None, None, {"backend": "openvino", "auto_config": True}),
        ("SubModules.A", {"backend": "om"}, None, {"backend": "openvino"}),
        ("SubModules.A", None, {"x": 1}, {"backend": "paddle", "auto_config": True, "x": 1}),
        ("SubPipelines.P.SubModules.B", {}, None, {"auto_config": False}),
        ("SubPipelines.None.SubModules.B", {"y": 1}, None, {"y": 1}),
    ],
)
def test_settings_are_inherited_as_paddlex_does(path: str, argument: Any, own: Any, expected: dict[str, Any]) -> None:
    assert inherited_settings(NESTED, path, argument, own) == expected


@pytest.mark.parametrize(
    ("inference", "expected"),
    [
        ({}, None),
        (
            {"hpiConfig": {"backend": "onnxruntime", "autoPaddle2onnx": False}},
            {"backend": "onnxruntime", "auto_paddle2onnx": False},
        ),
        ({"engineConfig": {"backend": "om"}}, {"backend": "om"}),
        ({"engineConfig": {"hpi": {"backend": "om"}, "paddle": {}}}, {"backend": "om"}),
        ({"engineConfig": {"hpi": 1}}, {}),
    ],
)
def test_settings_of_the_engine_are_in_paddlexs_words(inference: dict[str, Any], expected: Any) -> None:
    assert hpi_settings(Inference.model_validate(inference)) == expected


def test_models_of_a_pipeline_of_the_registry_are_not_known_whole() -> None:
    assert not is_listed_whole(a_pipeline())
    assert is_listed_whole(a_pipeline(pipeline=..., config={"inline": {}}))


def of(group: NodeGroup, class_: Any, resource: str | None, limits: dict[str, str], **build: Any) -> Any:
    """Return a class of hardware as JSON."""
    found = hardware_class(group, CLASSES[class_], resource, limits, Build.model_validate(build))
    return None if found is None else found.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.mark.parametrize(
    ("limits", "threads", "memory"),
    [({}, 32, 128), ({"cpu": "2"}, 2, 128), ({"cpu": "1900m", "memory": "3.9Gi"}, 1, 3), ({"cpu": "100m"}, 1, 128)],
)
def test_a_process_has_what_its_limits_leave_it(limits: dict[str, str], threads: int, memory: int) -> None:
    found = of(a_node_group(), "CPU", None, limits)

    assert (found["threads"], found["memoryGibibytes"], found["device"]) == (threads, memory, "cpu")


@pytest.mark.parametrize(("match", "driver"), [("Exact", "550.54.15"), ("Verified", "550"), ("Major", "550")])
def test_a_driver_counts_as_far_as_it_is_asked_to(match: str, driver: str) -> None:
    found = of(a_node_group(gpus=1), "NVIDIA", "nvidia.com/gpu", {}, driverMatch=match)

    assert found["accelerator"]["driver"] == driver


def test_a_slice_is_another_class_of_hardware() -> None:
    group = a_node_group(mig={"1g.5gb": 4, "2g.10gb": 1})

    found = of(group, "NVIDIA", "nvidia.com/mig-2g.10gb", {})

    assert (found["accelerator"]["slice"], found["accelerator"]["memoryGibibytes"]) == ("2g.10gb", 10)


def test_an_npu_is_its_chip() -> None:
    accelerator = of(a_node_group(npus=1), "Ascend", "huawei.com/Ascend310P", {})["accelerator"]

    assert (accelerator["product"], accelerator["chip"]) == ("Ascend310P3", "Ascend310P3")


def test_of_nodes_that_nobody_has_reported_on_or_with_mixed_devices_no_class_is_known() -> None:
    unknown = a_node_group(gpus=1).__class__(**{**vars(a_node_group(gpus=1)), "hardware": None})
    mixed = a_node_group(mig={"1g.5gb": 4, "2g.10gb": 1})

    assert of(unknown, "NVIDIA", "nvidia.com/gpu", {}) is None
    assert of(mixed, "NVIDIA", None, {}) is None


def test_hardware_in_words() -> None:
    def words(group: NodeGroup, class_: Any, resource: str | None) -> str:
        found = hardware_class(group, CLASSES[class_], resource, {"cpu": "4"}, Build())
        assert found is not None
        return hardware_in_words(found)

    assert words(a_node_group(), "CPU", None) == "x86_64 x86-64-v4, 4 threads"
    assert words(a_node_group(gpus=1, product="NVIDIA L4"), "NVIDIA", "nvidia.com/gpu") == (
        "NVIDIA L4 22 GiB, driver 550.54.15"
    )
