"""Which runtime a class of hardware gets, and why not another."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hpi_core.api.v1alpha1.pipeline import RuntimeChoice
from hpi_core.api.v1alpha1.placement import Accelerator
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import Offered, PodDemands, offers
from hpi_operator.plan.runtime_choice import ChosenRuntime, NoRuntime, RuntimeRecord, choose_runtime, holds
from support.observed import CLASSES, GPU_RUNTIME, a_digest, a_node_group, a_runtime


def on_offer(*supply: NodeGroup, class_: str = "CPU", **fields: Any) -> Offered:
    """Return what nodes offer a class."""
    accelerator = Accelerator.model_validate({"class": class_, **fields})
    [answer] = offers([accelerator], supply, CLASSES, PodDemands({}, ()))
    assert isinstance(answer, Offered)
    return answer


def choose(
    runtimes: list[HPIRuntime], offered: Offered, wish: dict[str, Any] | None = None, kept: RuntimeRecord | None = None
) -> ChosenRuntime | NoRuntime:
    """Return the choice for what is offered."""
    asked = None if wish is None else RuntimeChoice.model_validate(wish)
    return choose_runtime(runtimes, asked, offered, CLASSES[offered.class_name], kept)


def chosen(*arguments: Any, **fields: Any) -> ChosenRuntime:
    """Return the choice; the test fails where there is none."""
    answer = choose(*arguments, **fields)
    assert isinstance(answer, ChosenRuntime), answer
    return answer


def why_not(*arguments: Any, **fields: Any) -> str:
    """Return why nothing fits; the test fails where something does."""
    answer = choose(*arguments, **fields)
    assert isinstance(answer, NoRuntime), answer
    return answer.message


OLD = a_runtime("hpi-cpu-1.0.0", version="1.0.0")
NEW = a_runtime("hpi-cpu-1.10.0", version="1.10.0", letter="b")
USABLE = a_node_group("n", usable=["hpi-cpu-1.0.0", "hpi-cpu-1.10.0"])


def test_the_newest_version_that_fits_is_chosen() -> None:
    assert chosen([OLD, NEW], on_offer(USABLE)).name == "hpi-cpu-1.10.0"


def test_one_that_is_usable_comes_before_a_newer_one_that_is_not() -> None:
    assert chosen([OLD, NEW], on_offer(a_node_group(usable=["hpi-cpu-1.0.0"]))).name == "hpi-cpu-1.0.0"


def test_one_that_is_usable_nowhere_is_chosen_where_there_is_no_other() -> None:
    answer = chosen([NEW], on_offer(a_node_group(usable=[])))

    assert (answer.name, answer.nodes, answer.usable_nodes) == ("hpi-cpu-1.10.0", 1, 0)


def test_what_a_class_has_already_is_kept() -> None:
    kept = RuntimeRecord("hpi-cpu-1.0.0", "any", "amd64")

    assert chosen([OLD, NEW], on_offer(USABLE), kept=kept).name == "hpi-cpu-1.0.0"


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ({"name": "hpi-cpu-1.0.0"}, "hpi-cpu-1.0.0"),
        ({"variant": "hpi-cpu"}, "hpi-cpu-1.10.0"),
        ({"variant": "hpi-cpu", "versionConstraint": "<1.10"}, "hpi-cpu-1.0.0"),
        ({"variant": "hpi-cpu", "versionConstraint": ">=1.10"}, "hpi-cpu-1.10.0"),
    ],
)
def test_a_wish_decides(wish: dict[str, Any], name: str) -> None:
    assert chosen([OLD, NEW], on_offer(USABLE), wish).name == name


def test_a_wish_comes_before_what_a_class_has() -> None:
    kept = RuntimeRecord("hpi-cpu-1.0.0", "any", "amd64")
    wish = {"variant": "hpi-cpu", "versionConstraint": ">1.0.0"}

    assert chosen([OLD, NEW], on_offer(USABLE), wish, kept).name == "hpi-cpu-1.10.0"


def test_a_gpu_variant_serves_the_processors_when_it_is_asked_for_and_only_then() -> None:
    gpu = a_runtime(GPU_RUNTIME, "NVIDIA", driver={"min": "900"}, computeCapabilities=["1.0"])
    offered = on_offer(a_node_group(usable=[GPU_RUNTIME]))

    assert chosen([gpu], offered, {"name": GPU_RUNTIME}).name == GPU_RUNTIME
    assert "it is for NVIDIA, the class is CPU" in why_not([gpu], offered)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"driver": {"min": "560"}}, {}, "the driver is 550.54.15, wanted 560 at least"),
    ({"driver": {"max": "545"}}, {}, "the driver is 550.54.15, wanted 545 at most"),
    ({"computeCapabilities": ["7.5", "8.0"]}, {"product": "NVIDIA L4"}, "compute capability 8.9 is none of 7.5, 8.0"),
    ({"architectures": ["arm64"]}, {}, "it has no image for amd64"),
    ({"state": "Withdrawn"}, {}, "it is withdrawn"),
    ({"state": "Deprecated"}, {}, "it is deprecated: only spec.runtime.name chooses it"),
]


@pytest.mark.parametrize(("spec", "node", "words"), REFUSED)
def test_one_that_does_not_fit_is_refused_with_what_was_seen_and_what_it_needs(
    spec: dict[str, Any], node: dict[str, Any], words: str
) -> None:
    offered = on_offer(a_node_group(gpus=1, **node), class_="NVIDIA")

    message = why_not([a_runtime(GPU_RUNTIME, "NVIDIA", **spec)], offered)

    assert message.startswith(f"class NVIDIA: no HPIRuntime fits; nearest: {GPU_RUNTIME}: ")
    assert words in message


@pytest.mark.parametrize("spec", [{"driver": {"min": "550.54.15"}}, {"driver": {"max": "550.54.15"}}])
def test_a_driver_at_the_bound_fits(spec: dict[str, Any]) -> None:
    offered = on_offer(a_node_group(gpus=1), class_="NVIDIA")

    assert chosen([a_runtime(GPU_RUNTIME, "NVIDIA", **spec)], offered).nodes == 1


def test_a_chip_must_be_one_that_the_runtime_has_code_for() -> None:
    offered = on_offer(a_node_group(npus=1), class_="Ascend")
    fits = a_runtime("fits", "Ascend", chips=["Ascend310P3"])
    other = a_runtime("other", "Ascend", chips=["Ascend910B3"])

    assert chosen([other, fits], offered).name == "fits"
    assert "chip Ascend310P3 is none of Ascend910B3" in why_not([other], offered)


def test_a_deprecated_one_is_chosen_by_name_alone() -> None:
    old = a_runtime(state="Deprecated")

    assert chosen([old], on_offer(USABLE), {"name": "hpi-cpu-1.0.0"}).name == "hpi-cpu-1.0.0"


@pytest.mark.parametrize("state", ["Withdrawn", "Deprecated"])
def test_what_runs_goes_on_whatever_became_of_the_offer(state: str) -> None:
    runtime = a_runtime(state=state)
    kept = RuntimeRecord(runtime.metadata.name, runtime.spec.images[0].image, "amd64")

    assert chosen([runtime], on_offer(USABLE), kept=kept).name == runtime.metadata.name


def test_the_three_nearest_are_told_those_that_lack_least_first() -> None:
    runtimes = [
        a_runtime("a-other-class", "NVIDIA"),
        a_runtime("b-other-version", version="1.0"),
        a_runtime("c-withdrawn", version="3.0", state="Withdrawn"),
        a_runtime("d-no-image", version="3.0", architectures=["arm64"]),
    ]

    message = why_not(runtimes, on_offer(USABLE), {"variant": "hpi-cpu", "versionConstraint": ">=2"})

    told = [one.split(":")[0] for one in message.partition("nearest: ")[2].split("; ")]
    assert told == ["d-no-image", "c-withdrawn", "b-other-version"]


def test_a_cluster_without_any_runtime_says_so() -> None:
    assert why_not([], on_offer(USABLE), {"name": "x"}) == "class CPU, spec.runtime x: the cluster has no HPIRuntime"


BOTH = ("amd64", "arm64")
AMD, ARM = a_node_group("amd", count=2), a_node_group("arm", architecture="arm64", count=3)


def test_an_image_of_each_architecture_keeps_pods_to_the_one_with_most_nodes() -> None:
    answer = chosen([a_runtime(architectures=BOTH)], on_offer(AMD, ARM))

    assert (answer.record.architecture, answer.nodes) == ("arm64", 3)


def test_pods_stay_on_the_architecture_that_they_have() -> None:
    kept = RuntimeRecord("hpi-cpu-1.0.0", "any", "amd64")

    answer = chosen([a_runtime(architectures=BOTH)], on_offer(AMD, ARM), kept=kept)

    assert (answer.record.architecture, answer.nodes) == ("amd64", 2)


def test_one_index_for_all_architectures_needs_no_pin() -> None:
    answer = chosen([a_runtime(architectures=BOTH, index=True)], on_offer(AMD, ARM))

    assert (answer.record.architecture, answer.nodes) == (None, 5)


def test_an_index_is_kept_to_an_architecture_that_was_asked_for() -> None:
    offered = on_offer(AMD, ARM, requirements={"architectures": ["arm64"]})

    answer = chosen([a_runtime(architectures=BOTH, index=True)], offered)

    assert (answer.record.architecture, answer.nodes) == ("arm64", 3)


def test_an_index_is_on_every_architecture_where_both_are_asked_for() -> None:
    offered = on_offer(AMD, ARM, requirements={"architectures": list(BOTH)})

    assert chosen([a_runtime(architectures=BOTH, index=True)], offered).record.architecture is None


def test_an_image_for_one_architecture_is_kept_to_it_before_nodes_of_another_come() -> None:
    assert chosen([a_runtime()], on_offer(AMD)).record.architecture == "amd64"


def test_the_order_of_runtimes_and_nodes_decides_nothing() -> None:
    runtimes = [a_runtime(f"r{number}", version=version) for number, version in enumerate(["1.0", "1.0.0", "1"])]
    seen = set()

    for seed in range(10):
        shuffle = random.Random(seed)
        seen.add(chosen(shuffle.sample(runtimes, 3), on_offer(*shuffle.sample([AMD, USABLE], 2))).name)

    assert len(seen) == 1


def test_a_record_holds_as_long_as_its_image_is_offered_and_fits() -> None:
    runtime = a_runtime()
    offered = on_offer(AMD)
    record = chosen([runtime], offered).record

    assert holds(record, [runtime], offered, CLASSES["CPU"])
    assert not holds(record, [a_runtime(letter="b")], offered, CLASSES["CPU"])
    assert not holds(record, [], offered, CLASSES["CPU"])
    assert not holds(record, [runtime], on_offer(ARM), CLASSES["CPU"])


def test_a_record_survives_being_written_down() -> None:
    record = RuntimeRecord("r", f"registry.example/hpi@{a_digest('a')}", None)

    assert RuntimeRecord.from_json(record.to_json()) == record
