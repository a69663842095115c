"""`kubectl hpi status`: a line for each pipeline, the broken ones first."""

from __future__ import annotations

from typing import Final

from hpi_operator.kubectl.reports.pipelines import pipeline_list
from hpi_operator.kubectl.text.pipelines import pipelines_text
from hpi_operator.kubectl.text.terminal import Style
from support.manifests import Document
from support.people_sights import a_condition, a_seen_pipeline

PLAIN: Final = Style()
BROKEN: Final = a_condition("Ready", "False", "NoReplica", "0 of 2 replicas answer")


def shown(*pipelines: Document, style: Style = PLAIN, namespaces: bool = False) -> list[str]:
    return list(pipelines_text(pipeline_list(pipelines), style, namespaces=namespaces))


def test_the_broken_come_first_then_those_that_need_attention_then_the_rest_by_name() -> None:
    found = pipeline_list(
        [
            a_seen_pipeline("b"),
            a_seen_pipeline("slow", a_condition("EngineActive", "False", "Fallback")),
            a_seen_pipeline("z-broken", BROKEN),
            a_seen_pipeline("a"),
            {"metadata": {"name": "new", "namespace": "shop", "generation": 1}},
        ]
    )

    assert [one.name for one in found.items] == ["z-broken", "new", "slow", "a", "b"]


def test_what_is_wrong_is_said_with_the_next_command() -> None:
    lines = shown(a_seen_pipeline("ocr"), a_seen_pipeline("table", BROKEN), namespaces=True)

    assert lines[1].split()[:4] == ["shop", "table", "OCR", "no"]
    assert lines[1].endswith("NoReplica: 0 of 2 replicas answer")
    assert lines[-1] == "1 of 2 not ready; next: kubectl hpi why table -n shop"


def test_a_spec_that_nobody_has_looked_at_since_is_said_although_the_old_one_is_ready() -> None:
    [line] = pipeline_list([a_seen_pipeline("ocr", behind=True)]).items

    assert (line.ready.status, line.behind, line.attention) == ("True", True, "NotLookedAt")


def test_the_slowest_model_is_the_one_with_the_largest_median() -> None:
    models = [{"name": "det", "p50Microseconds": 14_200}, {"name": "rec", "p50Microseconds": 900}, {"name": "cls"}]
    [line] = pipeline_list([a_seen_pipeline("ocr", models=models)]).items

    assert line.slowest is not None
    assert (line.slowest.name, line.slowest.p50_microseconds) == ("det", 14_200)
    assert "det  " in shown(a_seen_pipeline("ocr", models=models))[1]
    assert "14.2 ms" in shown(a_seen_pipeline("ocr", models=models))[1]


def test_a_column_without_content_is_left_out() -> None:
    [header, _] = shown(a_seen_pipeline("ocr"))

    assert header.split() == ["NAME", "PIPELINE", "READY", "ANSWER"]


def test_no_pipeline_is_no_line() -> None:
    assert shown() == []
