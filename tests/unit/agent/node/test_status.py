"""The whole status of an HPINode: what it says, and whether that is news."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.node.on_disk import OnDisk
from hpi_agent.node.self_tests import Result
from hpi_agent.node.status import Cache, CacheProblem, Sight, is_news, node_status, read_spec, statement
from hpi_agent.node.workloads import Told
from hpi_core.api.v1alpha1.node import NodeStatus
from hpi_core.errors import Refused, Stop
from support.manifests import Document
from support.nodes import a_node

EARLIER, NOW = "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"
LOCK, OTHER_LOCK = "sha256:" + "a" * 64, "sha256:" + "b" * 64
HARDWARE = a_node("n", gpus=2).hardware
SIGHT = Sight(HARDWARE, cache=Cache(1_000_000, 0, 0), agent_version="0.1.0")
PASSED = Result(LOCK, True, "2 of 2 backends", ("onnxruntime", "openvino"), EARLIER)
FAILED = Result(LOCK, False, "openvino: no library", (), EARLIER)


def an_hpi_node(status: Document | None = None, *, lock: str = LOCK, **spec: Any) -> Document:
    """Return an HPINode that wants the runtime `r`."""
    written = {"nodeUid": "7f8a1c22-3b1d-4a52-8e11-2c9d4f6b7a80", "runtimes": [{"name": "r", "lockDigest": lock}]}
    document: Document = {
        "metadata": {"name": "n", "uid": "u", "generation": 3},
        "spec": {**written, **spec},
    }
    return document if status is None else {**document, "status": status}


def told(sight: Sight = SIGHT, now: str = NOW, before: Document | None = None, **spec: Any) -> Document:
    """Return the status."""
    return node_status(an_hpi_node(before, **spec), sight, now)


def ready(status: Document) -> tuple[str, str]:
    """Return status and reason of `Ready`."""
    return condition(status, "Ready")[:2]


def condition(status: Document, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    [one] = [one for one in status["conditions"] if one["type"] == type_]
    return one["status"], one["reason"], one["message"]


@pytest.mark.parametrize(
    ("sight", "spec", "expected"),
    [
        (SIGHT, {"runtimes": []}, ("False", "NoRuntimeFits")),
        (SIGHT, {}, ("False", "SelfTestRunning")),
        (replace(SIGHT, results={"r": PASSED}), {}, ("True", "SelfTestPassed")),
        (replace(SIGHT, results={"r": FAILED}), {}, ("False", "SelfTestFailed")),
        (replace(SIGHT, results={"r": PASSED}), {"lock": OTHER_LOCK}, ("False", "SelfTestRunning")),
        (replace(SIGHT, results={"r": PASSED}, faults=("GPU 0 is lost",)), {}, ("False", "HardwareFaulty")),
    ],
)
def test_ready_sums_up_what_keeps_the_node_from_serving(
    sight: Sight, spec: Document, expected: tuple[str, str]
) -> None:
    assert ready(told(sight, **spec)) == expected


def test_a_runtime_of_which_no_self_test_has_told_is_not_said_to_be_there() -> None:
    assert told()["runtimes"] == []


def test_a_result_stays_after_its_agent_has_been_started_anew() -> None:
    before = told(replace(SIGHT, results={"r": PASSED}))

    after = told(before=before, now="2026-03-02T00:00:00Z")

    assert after["runtimes"] == before["runtimes"]
    assert not is_news(after, an_hpi_node(before))


def test_a_result_of_another_lock_does_not_stay() -> None:
    before = told(replace(SIGHT, results={"r": PASSED}))

    assert told(before=before, lock=OTHER_LOCK)["runtimes"] == []


def test_a_later_result_replaces_an_earlier_one() -> None:
    before = told(replace(SIGHT, results={"r": PASSED}))

    [row] = told(replace(SIGHT, results={"r": FAILED}), before=before)["runtimes"]

    assert (row["state"], row["selfTest"]["state"]) == ("Failed", "Failed")


def test_an_unchanged_condition_keeps_its_date() -> None:
    before = told(replace(SIGHT, results={"r": PASSED}), now=EARLIER)

    same = told(replace(SIGHT, results={"r": PASSED}), before=before, now=NOW)["conditions"][0]
    other = told(replace(SIGHT, results={"r": FAILED}), before=before, now=NOW)["conditions"][0]

    assert (same["lastTransitionTime"], other["lastTransitionTime"]) == (EARLIER, NOW)


@given(st.integers(0, 2**45), st.integers(0, 2**45))
def test_cache_use_is_told_to_the_byte_however_large_the_quota_is(used: int, quota: int) -> None:
    cache = told(replace(SIGHT, cache=Cache(quota, used, 1)))["cache"]

    assert cache == {"quotaBytes": quota, "usedBytes": used, "entries": 1}


def store_row(disk: OnDisk | None, before: Document | None = None, **fields: Any) -> tuple[Document | None, str]:
    """Return what is said of a runtime that the agent installs, and the reason of `Ready`."""
    runtimes = [{"name": "r", "lockDigest": LOCK, "delivery": "Store", "variant": "tiny"}]
    sight = replace(SIGHT, on_disk={} if disk is None else {"r": disk}, **fields)
    status = told(sight, before=before, runtimes=runtimes)
    return next(iter(status["runtimes"]), None), ready(status)[1]


@pytest.mark.parametrize(
    ("disk", "row", "reason"),
    [
        (OnDisk(LOCK, "Queued"), None, "SelfTestRunning"),
        (OnDisk(LOCK, "Installing", "fetching"), {"state": "Installing", "message": "fetching"}, "RuntimeInstalling"),
        (OnDisk(LOCK, "Failed", "no room"), {"state": "Failed", "message": "no room"}, "RuntimeInstallFailed"),
        (OnDisk(LOCK, "Installed"), {"state": "Installed"}, "SelfTestRunning"),
    ],
)
def test_a_runtime_that_the_agent_installs_says_how_far_it_is(disk: OnDisk, row: Document | None, reason: str) -> None:
    expected = None if row is None else {"name": "r", "lockDigest": LOCK, "message": "", "backends": [], **row}

    assert store_row(disk) == (expected, reason)


def test_a_result_counts_as_long_as_the_runtime_lies_there() -> None:
    before = told(replace(SIGHT, results={"r": PASSED}))

    queued, installed, lost = (
        store_row(OnDisk(LOCK, state), before)[0] for state in ("Queued", "Installed", "Installing")
    )

    # An agent that has just begun has not looked yet: that is no reason to take anything back.
    assert queued == installed == before["runtimes"][0]
    assert lost is not None
    assert "selfTest" not in lost


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (None, ("True", "AsWanted", "")),
        (CacheProblem("CacheFull", "make room there"), ("False", "CacheFull", "make room there")),
        (CacheProblem("CacheUnusable", "it is read-only"), ("False", "CacheUnusable", "it is read-only")),
    ],
)
def test_a_cache_that_takes_nothing_says_why(problem: CacheProblem | None, expected: tuple[str, str, str]) -> None:
    status = told(replace(SIGHT, cache_problem=problem))

    assert condition(status, "CacheReady") == expected


def test_engines_that_nobody_knows_of_are_absent() -> None:
    wanted = [{"namespace": "a", "name": "e-1"}, {"namespace": "b", "name": "e-1"}]

    rows = told(replace(SIGHT, engines={("b", "e-1"): "Cached"}), engines=wanted)["engines"]

    assert [(one["namespace"], one["state"]) for one in rows] == [("a", "Absent"), ("b", "Cached")]


def test_the_order_of_lists_is_no_news() -> None:
    sight = replace(
        SIGHT, words=[Told("a", "x", "r", "Measured", engines=("e1", "e2")), Told("a", "y", "r", "Measured")]
    )
    status = told(sight)
    there = copy.deepcopy(status)
    there["workloads"].reverse()
    there["workloads"][1]["engines"].reverse()

    assert not is_news(status, an_hpi_node(there))


def test_conditions_of_others_are_no_news() -> None:
    status = told()
    there = {**status, "conditions": [*status["conditions"], {"type": "Other", "status": "True"}], "upgrade": {"a": 1}}

    assert not is_news(status, an_hpi_node(there))


@pytest.mark.parametrize("name", ["hardware", "conditions", "runtimes", "workloads", "cache", "observedGeneration"])
def test_what_is_missing_is_news(name: str) -> None:
    status = told(replace(SIGHT, results={"r": PASSED}, words=[Told("a", "x", "r", "Measured")]))
    there = {key: value for key, value in status.items() if key != name}

    assert is_news(status, an_hpi_node(there))
    assert is_news(status, an_hpi_node())


def row(measured: int, pipeline: str = "x") -> Document:
    """Return a row of workloads as it stands in a status."""
    active = {"measured": measured, "provisional": 0, "fallback": 0, "building": 0}
    return {
        "namespace": "a",
        "pipeline": pipeline,
        "revision": "r",
        "engineActive": active,
        "engines": [],
        "message": "",
    }


@pytest.mark.parametrize(("spoken", "counted"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_pods_that_were_counted_before_are_not_given_up_until_all_have_spoken(spoken: int, counted: int) -> None:
    words = [Told("a", "x", "r", "Measured")] * spoken

    rows = told(replace(SIGHT, words=words, inherited=[row(2)]))["workloads"]

    assert [one["engineActive"]["measured"] for one in rows] == [counted]


def test_inherited_rows_find_no_more_places_than_there_are() -> None:
    words = [Told("a", f"p{number}", "r", "Measured") for number in range(64)]

    status = told(replace(SIGHT, words=words, inherited=[row(1, f"q{number}") for number in range(2)]))

    assert (len(status["workloads"]), status["workloadsOmitted"]) == (64, 2)
    NodeStatus.model_validate(status)


def test_the_statement_is_of_this_very_object() -> None:
    assert statement(an_hpi_node(), told())["metadata"] == {"name": "n", "uid": "u"}


def test_what_would_be_no_status_is_said_with_the_field() -> None:
    with pytest.raises(Stop, match=r"agentVersion"):
        told(replace(SIGHT, agent_version="not a version"))


def test_a_spec_that_this_release_does_not_know_is_refused_with_the_field() -> None:
    with pytest.raises(Refused, match=r"runtimes\.0\.lockDigest"):
        read_spec(an_hpi_node(runtimes=[{"name": "r", "lockDigest": "none"}]))
