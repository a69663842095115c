"""Reports of pods, summed up by pipeline and revision."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.node.workloads import MAX_PODS, SILENT_SECONDS, WORST_FIRST, Told, Workloads, summed_up
from hpi_core.api.v1alpha1.node import (
    MAX_ENGINES_OF_ALL_WORKLOADS,
    MAX_MODELS_OF_ALL_WORKLOADS,
    MAX_WORKLOADS,
    NodeStatus,
    ServedModel,
)
from hpi_core.errors import Overloaded, Refused
from hpi_core.formats import BACKENDS

ONE = Told("a", "ocr", "5d8c7b9f4a", "Measured")


def a_model(name: str = "det", backend: str = "openvino", state: str = "Measured", p50: int | None = 9) -> ServedModel:
    """Return what a pod tells of one of its models."""
    timing = {} if p50 is None else {"p50Microseconds": p50, "p99Microseconds": 2 * p50}
    told = {"name": name, "backend": backend, "precision": "float32", "state": state, **timing}
    return ServedModel.model_validate(told)


names = st.sampled_from(["a", "b", "c"])
revisions = st.integers(0, 40).map(lambda number: f"r{number}")
engines = st.lists(st.integers(0, 200).map(lambda number: f"e-{number:040x}"), max_size=32, unique=True).map(tuple)
models = st.builds(
    a_model,
    st.integers(0, 30).map(lambda number: f"m{number}"),
    st.sampled_from(["openvino", "onnxruntime"]),
    st.sampled_from([*WORST_FIRST, "OfAnotherRelease"]),
    st.none() | st.integers(1, 10**6),
)
words = st.lists(
    st.builds(
        Told,
        names,
        names,
        revisions,
        st.sampled_from(WORST_FIRST),
        st.text("abc", max_size=3) | st.just("x" * 160),
        engines,
        st.lists(st.sampled_from(BACKENDS), max_size=5, unique=True).map(tuple),
        st.lists(models, max_size=16, unique_by=lambda one: one.name).map(tuple),
    ),
    max_size=120,
)


@given(words)
def test_every_pod_is_counted_once_and_the_status_takes_the_rows(told: list[Told]) -> None:
    rows, omitted = summed_up(told)

    status = NodeStatus.model_validate({"workloads": rows, "workloadsOmitted": omitted})
    counted = sum(sum(vars(row.engine_active).values()) for row in status.workloads)
    left_out = {(one.namespace, one.pipeline, one.revision) for one in told} - {
        (row.namespace, row.pipeline, row.revision) for row in status.workloads
    }
    assert counted == sum((one.namespace, one.pipeline, one.revision) not in left_out for one in told)
    assert len(left_out) == omitted


@given(words, st.randoms(use_true_random=False))
def test_the_order_of_the_words_changes_nothing(told: list[Told], chance: object) -> None:
    shuffled = list(told)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert summed_up(shuffled) == summed_up(told)


@given(words)
def test_engines_of_all_rows_are_within_the_limit_and_each_is_one_of_its_pods(told: list[Told]) -> None:
    rows, _ = summed_up(told)

    assert sum(len(row["engines"]) for row in rows) <= MAX_ENGINES_OF_ALL_WORKLOADS
    for row in rows:
        own = {
            name
            for one in told
            if (one.namespace, one.pipeline, one.revision) == (row["namespace"], row["pipeline"], row["revision"])
            for name in one.engines
        }
        assert set(row["engines"]) <= own
        assert row["engines"] or not own or len(rows) > 4


def test_a_row_has_the_backends_of_all_its_pods() -> None:
    pods = (("openvino", "paddle"), (), ("onnxruntime", "paddle"))

    [row], _ = summed_up([replace(ONE, backends=one) for one in pods])

    assert row["backends"] == ["onnxruntime", "openvino", "paddle"]


def test_a_model_is_told_once_for_each_backend_by_the_slowest_and_least_sure_of_its_pods() -> None:
    pods = [(a_model(p50=9),), (a_model(p50=11, state="Provisional"),), (a_model(backend="onnxruntime", p50=None),)]

    [row], _ = summed_up([replace(ONE, models=one) for one in pods])

    assert [(one["backend"], one["pods"], one["state"], one.get("p50Microseconds")) for one in row["models"]] == [
        ("onnxruntime", 1, "Measured", None),
        ("openvino", 2, "Provisional", 11),
    ]


@given(words)
def test_models_of_all_rows_are_within_the_limit(told: list[Told]) -> None:
    rows, _ = summed_up(told)

    assert sum(len(row["models"]) for row in rows) <= MAX_MODELS_OF_ALL_WORKLOADS


def test_engines_are_shared_out_evenly_and_what_a_row_does_not_need_is_left_to_others() -> None:
    many = tuple(f"e-{number:040x}" for number in range(32))
    told = [Told("a", "ocr", f"r{number}", "Measured", engines=many) for number in range(5)]
    told.append(Told("a", "ocr", "few", "Measured", engines=many[:3]))

    rows, _ = summed_up(told)

    assert sorted(len(row["engines"]) for row in rows) == [3, 25, 25, 25, 25, 25]


@pytest.mark.parametrize(("rows", "omitted"), [(MAX_WORKLOADS, 0), (MAX_WORKLOADS + 1, 1)])
def test_of_more_rows_than_have_a_place_those_of_most_pods_stay(rows: int, omitted: int) -> None:
    told = [Told("a", "ocr", f"r{number}", "Measured") for number in range(rows)]
    told.append(Told("a", "ocr", f"r{rows - 1}", "Measured"))

    kept, left_out = summed_up(told)

    assert (len(kept), left_out) == (MAX_WORKLOADS, omitted)
    assert [row["engineActive"]["measured"] for row in kept if row["revision"] == f"r{rows - 1}"] == [2]


def test_the_message_is_that_of_the_worst_pod() -> None:
    told = [
        Told("a", "ocr", "r", "Measured", "all is well"),
        Told("a", "ocr", "r", "Fallback", "no driver"),
        Told("a", "ocr", "r", "Building", "it builds"),
    ]

    [row] = summed_up(told)[0]

    assert row["message"] == "it builds"


@pytest.mark.parametrize(("seconds", "pods", "left"), [(0.0, 1, SILENT_SECONDS), (179.9, 1, 0.1), (180.0, 0, None)])
def test_a_pod_is_forgotten_three_minutes_after_its_last_word(seconds: float, pods: int, left: float | None) -> None:
    workloads = Workloads()
    workloads.take("u", ONE, 1_000.0)

    words_now, silent_seconds = workloads.current(1_000.0 + seconds)

    assert len(words_now) == pods
    assert silent_seconds == (None if left is None else pytest.approx(left))


def test_only_another_word_is_news() -> None:
    workloads = Workloads()

    news = [
        workloads.take("u", ONE, 0.0),
        workloads.take("u", ONE, 60.0),
        workloads.take("u", Told("a", "ocr", "5d8c7b9f4a", "Building"), 61.0),
    ]

    assert news == [True, False, True]


def test_a_pod_does_not_become_one_of_another_pipeline() -> None:
    workloads = Workloads()
    workloads.take("u", ONE, 0.0)

    with pytest.raises(Refused, match="one of a/ocr"):
        workloads.take("u", Told("a", "other", "r", "Measured"), 1.0)


def test_no_more_pods_are_counted_than_a_node_can_have() -> None:
    workloads = Workloads()
    for number in range(MAX_PODS):
        workloads.take(str(number), ONE, 0.0)

    assert workloads.take("0", ONE, 1.0) is False
    with pytest.raises(Overloaded):
        workloads.take("one more", ONE, 1.0)
