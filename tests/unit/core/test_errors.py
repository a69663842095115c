"""The exception tree: who acts next follows from the class."""

from __future__ import annotations

import pytest

from hpi_core import errors
from hpi_core.errors import Bug, HpiError, InvalidManifest, Overloaded, Refused, Retry, Stop

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HpiError)]


@pytest.mark.parametrize("error", [kind for kind in ALL if kind is not HpiError], ids=lambda kind: kind.__name__)
def test_every_error_says_of_exactly_one_party_that_it_acts_next(error: type[HpiError]) -> None:
    parties = [party for party in (Refused, Retry, Stop, Bug) if issubclass(error, party)]

    assert len(parties) == 1


@pytest.mark.parametrize(("given", "kept"), [(-1, 1), (0, 1), (1, 1), (2, 2)])
def test_an_overloaded_queue_asks_for_at_least_one_second(given: int, kept: int) -> None:
    assert Overloaded("the queue is full", given).retry_after_seconds == kept


def test_an_invalid_manifest_shows_one_line_per_problem() -> None:
    error = InvalidManifest("a.yaml", ["spec.x: is required", "spec.y: is required"])

    assert str(error) == "a.yaml: 2 problem(s)\n  spec.x: is required\n  spec.y: is required"
    assert error.problems == ["spec.x: is required", "spec.y: is required"]
