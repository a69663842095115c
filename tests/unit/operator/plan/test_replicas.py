"""How many replicas each class gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.exposure import Autoscaling
from hpi_operator.plan.intent import ObjectKey
from hpi_operator.plan.present import Present
from hpi_operator.plan.replicas import ClassPods, count_pods, may_be_away, spread, wanted_replicas
from support.observed import NOW, a_pod, a_waiting_pod

NAMES = ["nvidia", "ascend", "cpu"]
counts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 12))
pods = st.builds(ClassPods, counts, counts)
class_lists = st.integers(1, 3).map(lambda length: NAMES[:length])


def a_deployment(replicas: int, may_be_away: int) -> Present:
    """Return a settled Deployment on GPUs."""
    key = ObjectKey("apps/v1", "Deployment", "team-a", "ocr-nvidia")
    nothing: frozenset[str] = frozenset()
    return Present(key, "stable", "nvidia", "r", replicas, None, nothing, frozenset(), may_be_away, True, False)


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


@given(class_lists, st.integers(0, 20), counts, counts)
def test_what_an_update_may_still_take_away_is_not_counted_on(
    classes: list[str], total: int, ready: dict[str, int], left: dict[str, int]
) -> None:
    seen = ClassPods(ready, {}, left=left)
    got = spread(classes, total, seen, "Spill")

    worst = sum(min(seen.lasting(name), got[name]) for name in classes)
    before = sum(min(seen.lasting(name), total) for name in classes)
    assert worst >= min(total, before)


@given(class_lists, st.integers(0, 20), counts, counts)
def test_updates_of_all_classes_at_once_leave_as_many_as_are_wanted(
    classes: list[str], total: int, ready: dict[str, int], left: dict[str, int]
) -> None:
    seen = ClassPods(ready, {}, left=left)
    got = spread(classes, total, seen, "Spill")
    away = may_be_away(classes, got, seen)

    worst = sum(min(ready.get(name, 0), got[name] - away[name]) for name in classes)
    before = sum(min(ready.get(name, 0), got[name]) for name in classes)
    assert all(0 <= away[name] <= got[name] for name in classes)
    assert worst >= min(total, before)


def test_what_stands_in_stays_until_the_update_that_counts_on_it_is_over() -> None:
    ready = {"nvidia": 2, "cpu": 2}

    during = spread(["nvidia", "cpu"], 3, ClassPods(ready, {}, left={"nvidia": 1}), "Spill")
    after = spread(["nvidia", "cpu"], 3, ClassPods(ready, {}), "Spill")

    assert (during["cpu"], after["cpu"]) == (2, 1)


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


@pytest.mark.parametrize(("bound", "left"), [(0, 3), (1, 2), (3, 0), (5, 0)])
def test_a_deployment_under_way_leaves_what_its_bound_says(bound: int, left: int) -> None:
    under_way = replace(a_deployment(replicas=3, may_be_away=bound), is_settled=False)
    over = a_deployment(replicas=3, may_be_away=bound)

    counted = count_pods([], NOW, 60, [under_way])

    assert counted.left == {"nvidia": left}
    assert count_pods([], NOW, 60, [over]).left == {}


@pytest.mark.parametrize(("live", "wanted"), [(None, 2), (1, 2), (2, 2), (4, 4), (6, 6), (7, 6)])
def test_an_autoscalers_word_counts_within_its_bounds(live: int | None, wanted: int) -> None:
    scaling = Autoscaling.model_validate({"minReplicas": 2, "maxReplicas": 6})

    assert wanted_replicas(None, scaling, live) == wanted


@pytest.mark.parametrize(("asked", "wanted"), [(None, 1), (0, 0), (3, 3)])
def test_without_an_autoscaler_the_spec_decides(asked: int | None, wanted: int) -> None:
    assert wanted_replicas(asked, None, 9) == wanted
