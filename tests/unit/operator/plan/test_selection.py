"""Labels by which the scheduler tells nodes that fit from those that do not, and what keeps them from changing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.placement import Accelerator
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import Offered, PodDemands, offers
from hpi_operator.plan.selection import Term, node_affinity, present_terms, terms
from support.observed import CLASSES, a_node_group

NVIDIA = CLASSES["NVIDIA"]
L4, T4 = a_node_group("l4", gpus=1, product="NVIDIA L4"), a_node_group("t4", gpus=1, product="Tesla T4")
A100 = a_node_group("a100", gpus=1, product="NVIDIA A100-SXM4-40GB")
PRODUCT = "nvidia.com/gpu.product"


def on_offer(*supply: NodeGroup, **requirements: Any) -> Offered:
    """Return what nodes offer the class NVIDIA under requirements."""
    accelerator = Accelerator.model_validate({"class": "NVIDIA", "requirements": requirements})
    [answer] = offers([accelerator], supply, CLASSES, PodDemands({}, ()))
    assert isinstance(answer, Offered)
    return answer


def of(*labels: tuple[str, str]) -> Term:
    """Return one term."""
    return tuple(sorted(labels))


def test_without_requirements_the_resource_says_it_all() -> None:
    assert terms(on_offer(L4, T4), NVIDIA, None, waits=False) == frozenset()


def test_a_requirement_is_said_by_the_labels_it_is_about_and_by_no_other() -> None:
    found = terms(on_offer(L4, T4, products=["NVIDIA L4"]), NVIDIA, None, waits=False)

    assert found == {of((PRODUCT, "NVIDIA-L4"))}


def test_pairs_of_labels_are_said_as_pairs() -> None:
    found = terms(on_offer(L4, A100, minComputeCapability="8.0"), NVIDIA, None, waits=False)

    major, minor = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"
    assert found == {of((major, "8"), (minor, "9")), of((major, "8"), (minor, "0"))}
    affinity = node_affinity(found)
    assert affinity is not None
    assert len(affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]) == 2


def test_values_of_one_label_stand_in_one_term() -> None:
    found = terms(on_offer(L4, A100, products=["NVIDIA L4", "NVIDIA A100-SXM4-40GB"]), NVIDIA, None, waits=False)

    assert node_affinity(found) == {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": PRODUCT, "operator": "In", "values": ["NVIDIA-A100-SXM4-40GB", "NVIDIA-L4"]}
                    ]
                }
            ]
        }
    }


def test_pods_are_not_replaced_because_another_node_fits() -> None:
    asked = ["NVIDIA L4", "NVIDIA A100-SXM4-40GB"]
    before = terms(on_offer(L4, T4, products=asked), NVIDIA, None, waits=False)

    after = terms(on_offer(L4, T4, A100, products=asked), NVIDIA, before, waits=False)

    assert after == before == {of((PRODUCT, "NVIDIA-L4"))}


def test_pods_that_wait_for_a_node_may_land_on_those_that_came_since() -> None:
    asked = ["NVIDIA L4", "NVIDIA A100-SXM4-40GB"]
    before = terms(on_offer(L4, T4, products=asked), NVIDIA, None, waits=False)

    after = terms(on_offer(L4, T4, A100, products=asked), NVIDIA, before, waits=True)

    assert after == {of((PRODUCT, "NVIDIA-L4")), of((PRODUCT, "NVIDIA-A100-SXM4-40GB"))}


def test_labels_that_nobody_has_any_more_stay_until_pods_wait() -> None:
    present = frozenset({of((PRODUCT, "NVIDIA-L4")), of((PRODUCT, "NVIDIA-A100-SXM4-40GB"))})

    kept = terms(on_offer(L4, products=["NVIDIA L4", "NVIDIA A100-SXM4-40GB"]), NVIDIA, present, waits=False)

    assert kept == present


def test_labels_of_nodes_that_do_not_fit_go_at_once() -> None:
    present = frozenset({of((PRODUCT, "NVIDIA-L4")), of((PRODUCT, "Tesla-T4"))})

    kept = terms(on_offer(L4, T4, products=["NVIDIA L4"]), NVIDIA, present, waits=False)

    assert kept == {of((PRODUCT, "NVIDIA-L4"))}


def test_pods_without_terms_get_them_when_nodes_come_that_do_not_fit() -> None:
    asked = {"products": ["NVIDIA L4"]}

    alone = terms(on_offer(L4, **asked), NVIDIA, frozenset(), waits=False)
    beside = terms(on_offer(L4, T4, **asked), NVIDIA, frozenset(), waits=False)

    assert alone == frozenset()
    assert beside == {of((PRODUCT, "NVIDIA-L4"))}


labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), min_size=1)


@given(st.frozensets(labels.map(lambda one: tuple(sorted(one.items()))), max_size=5))
def test_terms_are_read_back_as_they_were_written(chosen: frozenset[Term]) -> None:
    affinity = node_affinity(chosen)

    assert present_terms({"affinity": {"nodeAffinity": affinity}} if affinity else {}) == chosen
