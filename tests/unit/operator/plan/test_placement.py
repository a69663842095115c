"""What a cluster offers for each wish, and what it lacks in words."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.api.v1alpha1.placement import Accelerator
from hpi_core.api.v1alpha1.pod_template import Toleration
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import Kept, Lacking, Offered, PodDemands, offers
from support.nodes import a_node
from support.observed import CLASSES, a_node_group, a_supply

NOTHING = PodDemands({}, ())


def wish(class_: str = "NVIDIA", **fields: Any) -> Accelerator:
    """Return one entry of a placement; requirements are given as `requirements={…}`."""
    return Accelerator.model_validate({"class": class_, **fields})


def offered(accelerator: Accelerator, *supply: NodeGroup, demands: PodDemands = NOTHING) -> Offered:
    """Return what is offered; the test fails where nothing is."""
    [answer] = offers([accelerator], supply, CLASSES, demands)
    assert isinstance(answer, Offered), answer
    return answer


def lack(accelerator: Accelerator, *supply: NodeGroup, demands: PodDemands = NOTHING) -> str:
    """Return what is lacking in words; the test fails where something is offered."""
    [answer] = offers([accelerator], supply, CLASSES, demands)
    assert isinstance(answer, Lacking), answer
    return answer.message


def test_an_empty_cluster_offers_nothing_and_says_so() -> None:
    assert lack(wish("CPU")) == "class CPU: the cluster has no node"


def test_processors_are_offered_by_every_node_without_taints() -> None:
    answer = offered(wish("CPU"), a_node_group("c", count=3), a_node_group("g", gpus=1, count=2))

    assert (answer.nodes, answer.resource) == (5, None)


@pytest.mark.parametrize(
    ("class_", "node", "resource"),
    [
        ("NVIDIA", {"gpus": 2}, "nvidia.com/gpu"),
        ("NVIDIA", {"mig": {"1g.5gb": 7}}, "nvidia.com/mig-1g.5gb"),
        ("NVIDIA", {"gpus": 1, "shared_by": 4}, "nvidia.com/gpu"),
        ("Ascend", {"npus": 2}, "huawei.com/Ascend310P"),
        ("Ascend", {"npus": 8, "chip": "Ascend910B3"}, "huawei.com/Ascend910"),
        ("Ascend", {"vnpus": {"vir04": 2}}, "huawei.com/Ascend310P-4c"),
    ],
)
def test_devices_are_found_by_the_resource_that_their_plugin_offers(
    class_: str, node: dict[str, Any], resource: str
) -> None:
    assert offered(wish(class_), a_node_group(**node)).resource == resource


def test_a_resource_may_be_named() -> None:
    group = a_node_group(mig={"1g.5gb": 4, "2g.10gb": 1})

    assert offered(wish(resourceName="nvidia.com/mig-2g.10gb"), group).resource == "nvidia.com/mig-2g.10gb"
    assert "no nvidia.com/mig-7g.40gb" in lack(wish(resourceName="nvidia.com/mig-7g.40gb"), group)


@pytest.mark.parametrize(("count", "fits"), [(4, True), (5, False)])
def test_one_node_must_have_all_devices_of_a_replica(count: int, fits: bool) -> None:
    [answer] = offers([wish(count=count)], [a_node_group(gpus=4, count=3)], CLASSES, NOTHING)

    assert isinstance(answer, Offered) is fits


def test_a_lack_of_devices_names_what_was_seen_and_what_is_wanted() -> None:
    assert lack(wish(count=5), a_node_group("g", gpus=4)) == (
        "class NVIDIA: 1 node (such as g-0): nvidia.com/gpu is 4 a node, wanted 5"
    )


REQUIREMENTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"products": ["Tesla T4"]}, {"gpus": 1, "product": "NVIDIA L4"}, "product is NVIDIA L4, wanted Tesla T4"),
    ({"minComputeCapability": "9.0"}, {"gpus": 1, "product": "NVIDIA L4"}, "capability is 8.9, wanted 9.0 at least"),
    ({"maxComputeCapability": "8.6"}, {"gpus": 1, "product": "NVIDIA L4"}, "capability is 8.9, wanted 8.6 at most"),
    ({"minDriver": "560"}, {"gpus": 1, "driver": "550.54.15"}, "driver is 550.54.15, wanted 560 at least"),
    ({"minMemoryBytes": 2**35}, {"gpus": 1, "product": "NVIDIA L4"}, "memory is 22.5 GiB, wanted 32.0 GiB at least"),
    ({"architectures": ["arm64"]}, {"gpus": 1}, "architecture is amd64, wanted arm64"),
    ({"nodeSelector": {"pool": "a"}}, {"gpus": 1}, "label pool is not there, wanted a"),
    ({"nodeSelector": {"pool": "a"}}, {"gpus": 1, "labels": {"pool": "b"}}, "label pool is b, wanted a"),
    ({}, {"gpus": 1, "taints": ["dedicated=ml:NoSchedule"]}, "taint dedicated=ml:NoSchedule is not tolerated"),
    ({}, {"gpus": 1, "cordoned": True}, "not ready, or cordoned"),
    ({}, {"gpus": 1, "ready": False}, "not ready, or cordoned"),
    ({}, {}, "no nvidia.com/gpu or the like"),
    ({}, {"npus": 1, "taints": []}, "not tolerated"),
]


@pytest.mark.parametrize(("requirements", "node", "words"), REQUIREMENTS)
def test_every_wish_that_is_not_granted_is_named(
    requirements: dict[str, Any], node: dict[str, Any], words: str
) -> None:
    supply = a_supply(a_node("n", **node), asked=["pool"])

    assert words in lack(wish(requirements=requirements), *supply)


@pytest.mark.parametrize(
    "requirements",
    [
        {"products": ["NVIDIA A100-SXM4-40GB"]},
        {"products": ["nvidia-a100-sxm4-40gb"]},
        {"minComputeCapability": "8.0", "maxComputeCapability": "8.0"},
        {"minDriver": "550.54.15", "maxDriver": "550.54.15"},
        {"minMemoryBytes": 40960 * 2**20},
        {"architectures": ["amd64"]},
    ],
)
@pytest.mark.parametrize("reported", [True, False], ids=["by its agent", "by labels"])
def test_bounds_include_themselves(requirements: dict[str, Any], reported: bool) -> None:
    supply = a_supply(a_node("g", gpus=1), reported=reported)

    assert offered(wish(requirements=requirements), *supply).nodes == 1


def test_a_shared_product_is_the_product() -> None:
    supply = a_supply(a_node("g", gpus=1, shared_by=4, product="NVIDIA L4"), reported=False)

    assert offered(wish(requirements={"products": ["NVIDIA L4"]}), *supply).nodes == 1


@pytest.mark.parametrize("reported", [True, False])
def test_a_chip_is_known_by_its_agent_and_by_its_label(reported: bool) -> None:
    supply = a_supply(a_node("a", npus=1, chip="Ascend310P3"), reported=reported)

    assert offered(wish("Ascend", requirements={"chips": ["Ascend310P3"]}), *supply).nodes == 1
    assert "chip is Ascend310P3, wanted Ascend910B3" in lack(
        wish("Ascend", requirements={"chips": ["Ascend910B3"]}), *supply
    )


def test_the_memory_of_a_slice_is_that_of_the_slice() -> None:
    group = a_node_group(mig={"1g.5gb": 4, "2g.10gb": 1})
    asked: dict[str, Any] = {"requirements": {"minMemoryBytes": 8 * 2**30}}

    assert offered(wish(resourceName="nvidia.com/mig-2g.10gb", **asked), group).nodes == 1
    assert "memory is 5.0 GiB" in lack(wish(resourceName="nvidia.com/mig-1g.5gb", **asked), group)


def test_a_taint_is_tolerated_by_the_class_or_by_the_pod_template() -> None:
    tainted = a_node_group(gpus=1, taints=["nvidia.com/gpu=present:NoSchedule", "dedicated=ml:NoExecute"])
    toleration = Toleration.model_validate({"key": "dedicated", "value": "ml"})

    assert offered(wish(), tainted, demands=PodDemands({}, (toleration,))).nodes == 1
    assert "dedicated=ml:NoExecute" in lack(wish(), tainted)


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_are_those_of_kubernetes(toleration: dict[str, Any], tolerates: bool) -> None:
    demands = PodDemands({}, (Toleration.model_validate(toleration),))

    [answer] = offers([wish("CPU")], [a_node_group(taints=["k=v:NoSchedule"])], CLASSES, demands)

    assert isinstance(answer, Offered) is tolerates


def test_a_soft_taint_keeps_nobody_away() -> None:
    assert offered(wish("CPU"), a_node_group(taints=["k=v:PreferNoSchedule"])).nodes == 1


def test_nodes_that_fit_by_their_agents_word_alone_are_told_apart_from_others_by_labels_or_not_at_all() -> None:
    fits = a_node("fits", gpus=1, product="NVIDIA L4")
    for label in ("nvidia.com/gpu.product",):
        del fits.manifest["metadata"]["labels"][label]
    other = a_node("other", gpus=1, product="Tesla T4")
    asked = wish(requirements={"products": ["NVIDIA L4"]})

    alone = offered(asked, *a_supply(fits))
    beside = lack(asked, *a_supply(fits, other))

    assert alone.nodes == 1
    assert "it fits, but no label tells the scheduler its product" in beside


def test_what_a_class_has_already_is_kept_while_it_fits() -> None:
    supply = [a_node_group("m", mig={"1g.5gb": 4}), a_node_group("w", gpus=8, count=5)]
    kept = {"NVIDIA": Kept(frozenset({"nvidia.com/mig-1g.5gb"}), serves_whole=False)}

    [fresh] = offers([wish()], supply, CLASSES, NOTHING)
    [sticky] = offers([wish()], supply, CLASSES, NOTHING, kept)  # type: ignore[arg-type]
    [gone] = offers([wish()], supply[1:], CLASSES, NOTHING, kept)  # type: ignore[arg-type]

    assert isinstance(fresh, Offered)
    assert isinstance(sticky, Offered)
    assert isinstance(gone, Offered)
    assert (fresh.resource, sticky.resource, gone.resource) == (
        "nvidia.com/gpu",
        "nvidia.com/mig-1g.5gb",
        "nvidia.com/gpu",
    )


@pytest.mark.parametrize(("serves_whole", "is_offered"), [(True, True), (False, False)])
def test_cordoned_nodes_are_offered_to_what_serves_whole_on_them(serves_whole: bool, is_offered: bool) -> None:
    kept = {"NVIDIA": Kept(frozenset({"nvidia.com/gpu"}), serves_whole)}

    [answer] = offers([wish()], [a_node_group(gpus=1, cordoned=True)], CLASSES, NOTHING, kept)  # type: ignore[arg-type]

    assert isinstance(answer, Offered) is is_offered


def test_a_message_tells_the_largest_sorts_and_counts_the_rest() -> None:
    groups = [
        a_node_group(f"d{number}", gpus=1, driver=f"5{number}0.1", count=7 - number, labels={"d": str(number)})
        for number in range(6)
    ]

    message = lack(wish(requirements={"minDriver": "900"}), *groups)

    assert message.startswith("class NVIDIA: 7 nodes (such as d0-0): driver is 500.1")
    assert message.endswith("; 5 more with other lacks")
