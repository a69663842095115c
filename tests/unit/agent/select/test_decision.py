"""The remembered choice: written, read again, and refused when it is not one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Decision, Gate, Outcome, Timing, read_decision
from hpi_core.digest import canonical_json, digest_of_json
from hpi_core.errors import Refused
from support.key_documents import a_digest, a_resolution_document

counts = st.integers(0, 2**40)
differences = st.floats(0, 1e3, allow_nan=False)
candidates = st.builds(
    Candidate,
    st.sampled_from(["onnxruntime", "openvino", "paddle"]),
    st.sampled_from(["float32", "bfloat16"]),
    st.integers(1, 1024),
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers() | st.text(max_size=5), max_size=3).map(
        lambda options: tuple(sorted(options.items()))
    ),
)
outcomes = st.builds(
    Outcome,
    candidates,
    st.sampled_from(["Chosen", "Slower", "OutOfTolerance", "Failed", "Excluded"]),
    st.text(max_size=20),
    st.sampled_from([None, a_digest(1)]),
    st.none() | differences,
    st.sampled_from([None, "Agreed", "Differed", "Ungated", "NotNeeded"]),
    st.none() | st.builds(Timing, counts, counts, counts, counts, counts, counts),
)
decisions = st.builds(
    Decision,
    st.just(a_resolution_document()),
    st.lists(outcomes, max_size=4).map(tuple),
    st.none() | st.builds(Gate, st.text(max_size=5), st.text(max_size=5), counts, counts, differences),
    st.none() | st.text(max_size=5),
    st.just("2026-01-02T03:04:05Z"),
    st.integers(0, 10**6).map(lambda milliseconds: milliseconds / 1e3),
)

CHOSEN = Outcome(Candidate("openvino", "float32", 2), "Chosen", "measured 1.50 ms", a_digest(1), 1e-5, "Agreed")
REJECTED = Outcome(Candidate("onnxruntime", "float32", 2), "OutOfTolerance", "largest difference 1.0e-03")


def a_decision(*outcomes: Outcome) -> Decision:
    """Return a decision with these outcomes."""
    return Decision(a_resolution_document(), outcomes, None, None, "2026-01-02T03:04:05Z", 1.5)


@given(decisions)
def test_a_decision_survives_being_written_and_read(decision: Decision) -> None:
    written = json.loads(canonical_json(decision.to_json()))

    assert read_decision(written) == decision


def test_a_decision_is_named_by_what_it_depends_on_and_not_by_what_it_says() -> None:
    one, other = a_decision(CHOSEN), a_decision(REJECTED)

    assert one.key == other.key == digest_of_json(a_resolution_document())


def test_the_chosen_outcome_is_the_one_that_says_so() -> None:
    assert a_decision(REJECTED, CHOSEN).chosen == CHOSEN
    assert a_decision(REJECTED).chosen is None


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_decision_of_another_format_is_refused(version: Any) -> None:
    written = {**a_decision(CHOSEN).to_json(), "formatVersion": version}

    with pytest.raises(Refused, match=rf"the decision has format {version!r}, this release reads 1; build it again"):
        read_decision(written)


@pytest.mark.parametrize(
    "damage",
    [
        {"outcomes": None},
        {"outcomes": ["Chosen"]},
        {"outcomes": [{}]},
        {"gate": {"reference": "paddle"}},
        {"gate": []},
        {"buildSeconds": "long"},
        {"resolution": 5},
    ],
)
def test_what_is_no_decision_is_refused(damage: dict[str, Any]) -> None:
    written = {**a_decision(CHOSEN).to_json(), **damage}

    with pytest.raises(Refused, match="the decision is malformed"):
        read_decision(written)


@pytest.mark.parametrize(
    ("candidate", "name"),
    [
        (Candidate("openvino", "float32", 2), "openvino"),
        (Candidate("openvino", "bfloat16", 2), "openvino bfloat16"),
        (Candidate("paddle", "float32", 2, (("run_mode", "paddle"),)), "paddle"),
        (Candidate("paddle", "bfloat16", 2, (("run_mode", "mkldnn"),)), "paddle mkldnn bfloat16"),
    ],
)
def test_a_candidate_has_a_name_for_people(candidate: Candidate, name: str) -> None:
    assert candidate.name == name
