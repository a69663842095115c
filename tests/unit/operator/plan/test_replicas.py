"""How many replicas each class gets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.exposure import Autoscaling
from hpi_operator.plan.replicas import ClassPods, count_pods, may_be_away, spread, wanted_replicas
from support.observed import NOW, a_pod, a_waiting_pod

NAMES = ["nvidia", "ascend", "cpu"]
counts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 12))
pods = st.builds(ClassPods, counts, counts)
class_lists = st.integers(1, 3).map(lambda length: NAMES[:length])


@given(class_lists, st.integers(0, 20), pods)
def test_first_gives_all_to_the_first(classes: list[str], total: int, seen: ClassPods) -> None:
    got = spread(classes, total, seen, "First")

    assert list(got) == classes
    assert got == {name: total if name == classes[0] else 0 for name in classes}


@given(class_lists, st.integers(0, 20), pods)
def test_replicas_that_do_not_wait_add_up_to_the_total_unless_more_serve_than_are_needed(
    classes: list[str], total: int, seen: ClassPods
) -> None:
    got = spread(classes, total, seen, "Spill")

    places = sum(got.values()) - sum(min(seen.waiting.get(name, 0), got[name]) for name in classes[:-1])
    assert places >= total
    if not any(seen.ready.get(name, 0) for name in classes[1:]):
        assert places == total


@given(class_lists, st.integers(0, 20), pods)
def test_no_class_gets_more_than_the_total_or_less_than_nothing(
    classes: list[str], total: int, seen: ClassPods
) -> None:
    assert all(0 <= count <= total for count in spread(classes, total, seen, "Spill").values())


@given(class_lists, st.integers(0, 20), counts)
def test_nothing_that_serves_is_taken_before_as_many_serve_elsewhere(
    classes: list[str], total: int, ready: dict[str, int]
) -> None:
    got = spread(classes, total, ClassPods(ready, {}), "Spill")

    left = sum(min(ready.get(name, 0), got[name]) for name in classes)
    before = sum(min(ready.get(name, 0), total) for name in classes)
    assert left >= min(total, before)


@given(class_lists, st.integers(1, 20), counts)
def test_pods_that_stand_in_let_as_many_be_away_and_no_more(
    classes: list[str], total: int, ready: dict[str, int]
) -> None:
    seen = ClassPods(ready, {})
    got = spread(classes, total, seen, "Spill")

    away = may_be_away(classes, got, seen)

    assert away[classes[-1]] == 0
    assert all(away[name] <= sum(got[later] for later in classes[place + 1 :]) for place, name in enumerate(classes))


@pytest.mark.parametrize(("waited", "counts_it"), [(59, False), (60, True)])
def test_a_pod_waits_too_long_from_the_very_second(waited: int, counts_it: bool) -> None:
    counted = count_pods([a_waiting_pod("p", seconds=waited)], NOW, 60)

    assert counted.waiting == ({"nvidia": 1} if counts_it else {})
    assert counted.next_seconds == (None if counts_it else 1.0)


def test_pods_that_are_deleted_or_have_a_node_do_not_wait() -> None:
    gone = a_waiting_pod("gone", seconds=100, deleting=True)
    placed = a_pod("placed", ready=False, unschedulable_since=NOW - timedelta(seconds=100))

    counted = count_pods([gone, placed, a_pod("ready")], NOW, 60)

    assert (counted.waiting, counted.ready) == ({}, {"cpu": 1})


@pytest.mark.parametrize(("live", "wanted"), [(None, 2), (1, 2), (2, 2), (4, 4), (6, 6), (7, 6)])
def test_an_autoscalers_word_counts_within_its_bounds(live: int | None, wanted: int) -> None:
    scaling = Autoscaling.model_validate({"minReplicas": 2, "maxReplicas": 6})

    assert wanted_replicas(None, scaling, live) == wanted


@pytest.mark.parametrize(("asked", "wanted"), [(None, 1), (0, 0), (3, 3)])
def test_without_an_autoscaler_the_spec_decides(asked: int | None, wanted: int) -> None:
    assert wanted_replicas(asked, None, 9) == wanted
