"""What holds for every wish on every cluster."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.placement import Accelerator
from hpi_operator.plan.accelerators import CLASSES as CLASS_NAMES
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import Kept, Lacking, Offered, PodDemands, offers
from support.observed import CLASSES, a_node_group

NOTHING = PodDemands({}, ())


SORTS: list[dict[str, Any]] = [
    {},
    {"gpus": 1},
    {"gpus": 4, "product": "NVIDIA L4"},
    {"mig": {"1g.5gb": 7}},
    {"npus": 2},
    {"gpus": 1, "cordoned": True},
    {"taints": ["k=v:NoSchedule"]},
    {"architecture": "arm64", "npus": 1},
]


GROUPS = [a_node_group(f"s{number}", **sort) for number, sort in enumerate(SORTS)]


supplies = st.lists(st.sampled_from(GROUPS), max_size=6, unique_by=lambda group: group.examples)


wishes = st.builds(
    lambda class_, count: Accelerator.model_validate(
        {"class": class_, **({"count": count} if class_ != "CPU" else {})}
    ),
    st.sampled_from(CLASS_NAMES),
    st.integers(1, 5),
)


@given(wishes, supplies, st.sampled_from(GROUPS))
def test_more_capacity_never_lowers_what_is_offered(
    accelerator: Accelerator, supply: list[NodeGroup], more: NodeGroup
) -> None:
    [before] = offers([accelerator], supply, CLASSES, NOTHING)
    kept = (
        {accelerator.class_: Kept(frozenset({before.resource or ""}), serves_whole=False)}
        if isinstance(before, Offered)
        else {}
    )

    [after] = offers([accelerator], [*supply, more], CLASSES, NOTHING, kept)

    if isinstance(before, Offered):
        assert isinstance(after, Offered)
        assert after.nodes >= before.nodes


@given(wishes, supplies)
def test_every_node_is_offered_or_its_lack_is_told(accelerator: Accelerator, supply: list[NodeGroup]) -> None:
    [answer] = offers([accelerator], supply, CLASSES, NOTHING)

    if isinstance(answer, Lacking):
        assert accelerator.class_ in answer.message
        assert all(any(name in answer.message for name in group.examples) for group in supply) or len(supply) > 1


@given(wishes, supplies, st.randoms())
def test_the_order_of_nodes_decides_nothing(accelerator: Accelerator, supply: list[NodeGroup], random: Any) -> None:
    shuffled = random.sample(supply, len(supply))

    [one], [other] = (offers([accelerator], nodes, CLASSES, NOTHING) for nodes in (supply, shuffled))

    if isinstance(one, Lacking):
        assert one == other
    else:
        assert isinstance(other, Offered)
        assert (one.resource, one.nodes) == (other.resource, other.nodes)
