from __future__ import annotations

import json
from typing import Any

import pytest

from bench.one_start import check_answer
from bench.sides import manifest_of
from bench.warm_store import describe_build, read_build
from support.pages import Page, small_page

ROW = {"model": "det", "chosen": "openvino", "precision": "float32", "reason": "measured 9 ms", "provisional": False}


def lines(*events: dict[str, Any]) -> str:
    """Return events as a build prints them."""
    return "".join(json.dumps(event) + "\n" for event in events)


def test_a_build_is_read_from_its_last_line_with_what_was_decided_before() -> None:
    told = lines(
        {"event": "started"},
        {"event": "decided", "hit": True, **ROW},
        {"event": "finished", "seconds": 1.5, "models": [ROW]},
    )

    built = read_build(told)

    assert built == {"seconds": 1.5, "models": [{**ROW, "hit": True}]}


@pytest.mark.parametrize("told", ["", lines({"event": "started"})], ids=["nothing", "no end"])
def test_a_build_that_does_not_say_how_it_ended_ends_the_benchmark(told: str) -> None:
    with pytest.raises(SystemExit, match="finished"):
        read_build(told)


def test_a_build_is_told_with_what_a_reader_must_know_of_each_choice() -> None:
    built = {"seconds": 1.5, "models": [{**ROW, "hit": True, "provisional": True}]}

    text = describe_build(built)

    assert text.splitlines()[1] == "  det: openvino, measured 9 ms; decided before; provisional: others used the cores"


@pytest.mark.parametrize("side", ["onnxruntime", "openvino"])
def test_the_side_of_one_backend_has_no_other_and_leaves_the_engines_of_the_store_alone(side: str) -> None:
    spec = manifest_of(side)["spec"]

    assert spec["build"]["policy"] == "Never"
    assert spec["inference"] == {"hpiConfig": {"autoConfig": False, "backend": side}}


def test_the_default_side_serves_what_was_built_before_and_names_no_backend() -> None:
    spec = manifest_of("default")["spec"]

    assert spec["build"]["policy"] == "Prebuild"
    assert "inference" not in spec


def answer_of(page: Page, lost: int) -> dict[str, Any]:
    """Return a server's answer in which the first line has lost some of its characters."""
    texts = list(page.lines)
    texts[0] = texts[0][lost:]
    read = {"rec_texts": texts, "rec_polys": [[list(corner) for corner in box] for box in page.boxes]}
    return {"result": {"ocrResults": [{"prunedResult": read}]}}


def test_an_answer_is_right_up_to_2_errors_in_100_characters() -> None:
    page = small_page()
    characters = sum(len(line) for line in page.lines)

    allowed = int(0.02 * characters)
    check_answer(page, answer_of(page, allowed))

    with pytest.raises(SystemExit, match=f"{allowed + 1} errors in {characters} characters"):
        check_answer(page, answer_of(page, allowed + 1))
