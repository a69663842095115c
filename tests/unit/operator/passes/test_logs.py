"""A line of the log is one JSON object that says what it is about."""

from __future__ import annotations

import json
import logging
from typing import Any

from hpi_operator.logs import about, formatter, learned


def line(**extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord({"msg": "applied", "levelname": "INFO", "name": "x", **extra})
    parsed: dict[str, Any] = json.loads(formatter().format(record))
    return parsed


def test_a_line_has_the_object_of_the_pass_and_what_was_learned_of_it() -> None:
    with about(object="HPIPipeline ns/ocr"):
        before = line(why="new")
        learned(generation=3)
        after = line()
    outside = line()

    assert (before["object"], before["why"], "generation" in before) == ("HPIPipeline ns/ocr", "new", False)
    assert (after["object"], after["generation"]) == ("HPIPipeline ns/ocr", 3)
    assert not {"object", "generation"} & outside.keys()


def test_what_was_learned_in_one_pass_is_not_said_of_the_next() -> None:
    with about(object="a"):
        learned(generation=3)
    with about(object="b"):
        assert "generation" not in line()


def test_what_was_learned_outside_of_a_pass_is_said_of_nothing() -> None:
    learned(generation=3)

    assert "generation" not in line()


def test_a_value_that_is_no_json_is_written_as_its_words() -> None:
    assert line(cause=ValueError("bad"))["cause"] == "bad"
