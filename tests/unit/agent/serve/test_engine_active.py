"""The one word for how the engines of a pod came to be."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_agent.serve.engine_active import MAX_MESSAGE, engine_active


def model(state: str, name: str = "m", reason: str = "why") -> dict[str, Any]:
    return {"name": name, "state": state, "reason": reason}


@pytest.mark.parametrize(
    ("states", "is_building", "word"),
    [
        (["Measured", "Measured"], False, "Measured"),
        (["Measured", "Provisional"], True, "Provisional"),
        (["Provisional", "Fallback"], False, "Fallback"),
        (["Measured", "Unmeasured"], True, "Building"),
        (["Fallback", "Unmeasured"], True, "Building"),
        (["Measured", "Unmeasured"], False, "Fallback"),
        ([], False, "Measured"),
    ],
)
def test_the_least_of_the_models_is_the_pods(states: list[str], is_building: bool, word: str) -> None:
    active, _ = engine_active([model(state) for state in states], is_building=is_building)

    assert active == word


def test_the_message_names_the_models_that_it_is_about_and_no_other() -> None:
    models = [model("Measured", "a"), model("Fallback", "b", "stands\nin"), model("Provisional", "c")]

    assert engine_active(models, is_building=False) == ("Fallback", "b: stands in")


@pytest.mark.parametrize("length", [MAX_MESSAGE - 3, MAX_MESSAGE - 2])
def test_a_message_has_160_characters_and_no_more(length: int) -> None:
    _, message = engine_active([model("Fallback", "m", "x" * length)], is_building=False)

    assert len(message) == MAX_MESSAGE
    assert message.endswith("…") == (length > MAX_MESSAGE - 3)


def test_where_all_is_measured_there_is_nothing_to_say() -> None:
    assert engine_active([model("Measured")], is_building=True) == ("Measured", "")
