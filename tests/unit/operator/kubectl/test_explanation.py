"""`kubectl hpi explain`: every candidate with its milliseconds and its reason, and what the next best would be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hpi_operator.kubectl.reports.engines import REJECTED, engine_choice
from hpi_operator.kubectl.reports.explanation import Explanation, explanation
from hpi_operator.kubectl.text.explanation import explanation_text
from hpi_operator.kubectl.text.terminal import Style
from support.manifests import Document
from support.observed import GPU_RUNTIME, a_runtime
from support.people_sights import (
    REVISION_NAME,
    a_candidate,
    a_condition,
    a_seen_engine,
    a_seen_node,
    a_seen_pipeline,
    a_served_model,
    a_sight,
    a_workload,
)

VERDICTS = ("Chosen", "Slower", "OutOfTolerance", "Failed", "Excluded", "AWordOfANewerAgent")


def shown(report: Explanation) -> list[str]:
    return list(explanation_text(report, Style()))


def runtime(name: str, accelerator: Any = "CPU", usable: bool = True, **spec: Any) -> Document:
    document = a_runtime(name, accelerator, **spec).model_dump(mode="json", by_alias=True)
    told = a_condition(
        "Usable", "True" if usable else "False", "SelfTestPassed" if usable else "SelfTestFailed", "n1: x"
    )
    return {**document, "status": {"conditions": [told], "nodes": {"usable": 3 if usable else 0, "wanted": 3}}}


def test_candidates_stand_in_order_chosen_then_slower_then_rejected() -> None:
    engine = a_seen_engine(
        "e-1",
        a_candidate("paddle", "Failed", reason="exit code 139"),
        a_candidate("onnxruntime", "Slower", 16_000),
        a_candidate("openvino", "Chosen", 14_200),
        a_candidate("openvino bf16", "OutOfTolerance", 9_000),
        a_candidate("paddle mkldnn", "Slower", 15_000),
    )

    choice = engine_choice(engine)

    names = [one.name for one in choice.candidates]
    assert names == ["openvino", "paddle mkldnn", "onnxruntime", "openvino bf16", "paddle"]
    assert (choice.next_best, choice.next_best_slowdown_percent) == ("paddle mkldnn", 6)


def test_every_candidate_has_a_line_with_its_figures_verdict_and_reason() -> None:
    engine = a_seen_engine(
        "e-1", a_candidate("openvino", "Chosen", 14_200), a_candidate("paddle", "Failed", reason="exit code 139")
    )

    lines = shown(explanation(a_seen_pipeline(), a_sight(engines=[engine])))

    rows = [line.split() for line in lines]
    assert ["openvino", "float32", "14.2", "ms", "28.4", "ms", "Chosen"] in rows
    assert ["paddle", "float32", "Failed", "exit", "code", "139"] in rows
    assert "  next best none: no other candidate could serve" in lines


@given(
    st.lists(st.tuples(st.sampled_from(VERDICTS), st.one_of(st.none(), st.integers(1, 10**9))), max_size=24).map(
        lambda drawn: [a_candidate(f"c{number}", verdict, p50) for number, (verdict, p50) in enumerate(drawn)]
    )
)
def test_the_next_best_is_the_fastest_that_could_serve(candidates: list[Document]) -> None:
    choice = engine_choice(a_seen_engine("e-1", *candidates))

    able = {
        one["name"]: one["p50Microseconds"]
        for one in candidates
        if one["verdict"] not in (*REJECTED, "Chosen") and "p50Microseconds" in one
    }
    assert (choice.next_best is None) == (not able)
    if choice.next_best is not None:
        assert able[choice.next_best] == min(able.values())
    assert sorted(one.name for one in choice.candidates) == sorted(one["name"] for one in candidates)


def test_a_runtime_says_why_it_was_not_chosen() -> None:
    pipeline = a_seen_pipeline("ocr", runtime="hpi-cpu-1.0.0")
    runtimes = [
        runtime(GPU_RUNTIME, "NVIDIA"),
        runtime("hpi-cpu-1.0.0"),
        runtime("hpi-cpu-2.0.0", version="2.0.0", usable=False),
        runtime("hpi-cpu-0.9.0", version="0.9.0", state="Withdrawn"),
        runtime("hpi-cpu-0.9.5", version="0.9.5"),
    ]

    report = explanation(pipeline, a_sight(runtimes=runtimes))

    assert [(one.name, one.verdict, one.reason.partition(";")[0]) for one in report.runtimes] == [
        ("hpi-cpu-1.0.0", "Chosen", "the best that fits"),
        ("hpi-cpu-0.9.5", "Fits", "another one was preferred, or its nodes are not those of the placement"),
        ("hpi-cpu-2.0.0", "NotUsable", "SelfTestFailed: n1: x"),
        ("hpi-cpu-0.9.0", "Excluded", "withdrawn: never chosen"),
        ("hpi-gpu-1.0.0", "Excluded", "for NVIDIA"),
    ]


def test_each_class_of_hardware_that_lacks_something_has_a_line() -> None:
    lacks = "CPU with hpi-cpu-1.0.0 on 3 usable nodes; class NVIDIA: 3 nodes: no nvidia.com/gpu; class Ascend: none"
    pipeline = a_seen_pipeline("ocr", a_condition("Placed", "True", "ClassChosen", lacks))

    report = explanation(pipeline, a_sight())

    assert report.placement.lines == (
        "CPU with hpi-cpu-1.0.0 on 3 usable nodes",
        "class NVIDIA: 3 nodes: no nvidia.com/gpu",
        "class Ascend: none",
    )


def test_what_serves_without_an_hpi_engine_has_a_line_and_it_is_said_why_there_is_none() -> None:
    pipeline = a_seen_pipeline(revision=REVISION_NAME)
    node = a_seen_node(workloads=[a_workload(models=[a_served_model("det", 9_100, pods=2)])])

    lines = shown(explanation(pipeline, a_sight(hpi_nodes=[node])))

    [row] = [line.split() for line in lines if line.startswith("  det")]
    assert row == ["det", "openvino", "float32", "9.1", "ms", "18.2", "ms", "Measured", "2", "pods"]
    assert [line for line in lines if "There is no HPIEngine of these" in line]


def test_an_engine_that_is_not_decided_says_so_and_one_that_is_gone_too() -> None:
    building = a_seen_engine("e-1", conditions=[a_condition("Ready", "False", "Building")])
    pipeline = a_seen_pipeline(models=[{"name": "det", "engine": "e-1"}, {"name": "rec", "engine": "e-2"}])

    lines = shown(explanation(pipeline, a_sight(engines=[building])))

    assert "  serves    nothing is decided yet: Building" in lines
    assert "engine e-2: the HPIEngine is gone, or could not be read" in lines
