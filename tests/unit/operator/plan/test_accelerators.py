"""Classes of hardware as data."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hpi_core.errors import Bug
from hpi_operator.configuration import accelerators_document
from hpi_operator.plan.accelerators import read_classes
from hpi_operator.plan.devices import same_product, slice_of
from support.observed import CLASSES


@pytest.mark.parametrize(
    ("class_", "resource", "matches"),
    [
        ("NVIDIA", "nvidia.com/gpu", True),
        ("NVIDIA", "nvidia.com/mig-1g.5gb", True),
        ("NVIDIA", "nvidia.com/gpus", False),
        ("NVIDIA", "example.com/gpu", False),
        ("Ascend", "huawei.com/Ascend310P", True),
        ("Ascend", "huawei.com/Ascend910-2c", True),
        ("Ascend", "huawei.com/Ascend310P-4c.3cpu", True),
        ("Ascend", "huawei.com/npu-core", False),
        ("CPU", "nvidia.com/gpu", False),
    ],
)
def test_resources_belong_to_a_class(class_: Any, resource: str, matches: bool) -> None:
    assert CLASSES[class_].matches(resource) is matches


def test_resources_are_looked_for_in_their_order() -> None:
    nvidia = CLASSES["NVIDIA"]

    assert nvidia.rank("nvidia.com/gpu") < nvidia.rank("nvidia.com/mig-1g.5gb") < nvidia.rank("unknown")


def test_every_label_that_a_decision_reads_is_known() -> None:
    assert "nvidia.com/gpu.compute.minor" in CLASSES["NVIDIA"].label_keys
    assert "huawei.com/driver.version" in CLASSES["Ascend"].label_keys
    assert CLASSES["CPU"].label_keys == frozenset()


def broken(**changes: Any) -> dict[str, Any]:
    """Return the document with a part of the class NVIDIA changed, or taken out."""
    document = copy.deepcopy(dict(accelerators_document()))
    nvidia = document["classes"]["NVIDIA"]
    for key, value in changes.items():
        if value is ...:
            del nvidia[key]
        else:
            nvidia[key] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"format": 2, "classes": {}},
        {"format": 1, "classes": {"CPU": {}}},
        broken(device=...),
        broken(labels={"colour": [["x"]]}),
        broken(labels=None),
    ],
)
def test_a_file_that_was_broken_is_a_bug(document: dict[str, Any]) -> None:
    with pytest.raises(Bug, match=r"configs/accelerators\.yml"):
        read_classes(document)


@pytest.mark.parametrize(
    ("resource", "slice_"),
    [
        (None, None),
        ("nvidia.com/gpu", None),
        ("nvidia.com/mig-3g.20gb", "3g.20gb"),
        ("huawei.com/Ascend310P", None),
        ("huawei.com/Ascend310P-4c", "vir04"),
        ("huawei.com/Ascend310P-4c.3cpu", "vir04_3c"),
        ("huawei.com/Ascend910-16c", "vir16"),
        ("huawei.com/Ascend310P-VPro", None),
    ],
)
def test_a_resource_names_its_slice(resource: str | None, slice_: str | None) -> None:
    assert slice_of(resource) == slice_


@pytest.mark.parametrize(
    ("seen", "wanted", "same"),
    [
        ("NVIDIA-L4", "NVIDIA L4", True),
        ("NVIDIA-L4-SHARED", "NVIDIA L4", True),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA A100-SXM4-40GB", True),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED", "NVIDIA A100-SXM4-40GB", True),
        ("NVIDIA-L40", "NVIDIA L4", False),
    ],
)
def test_a_product_is_the_same_whatever_sharing_makes_of_its_name(seen: str, wanted: str, same: bool) -> None:
    assert same_product(seen, wanted) is same
