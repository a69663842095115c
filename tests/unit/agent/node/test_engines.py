"""HPIEngines that a node has to do with: found by what a pod asks for, their states, and what is stated of them."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_agent.exchange.reports import Asked, DecisionReport, FailureReport
from hpi_agent.exchange.tenants import Tenant
from hpi_agent.node.builds import IS_HELD
from hpi_agent.node.engine_status import building, decided, failed, is_asked, is_final
from hpi_agent.node.engines import FINAL_SECONDS, OPEN_SECONDS, UNKNOWN_SECONDS, Engines
from hpi_core.api.v1alpha1.engine import EngineStatus
from hpi_core.api.v1alpha1.node import NodeSpec
from hpi_operator.install.installation import Account
from hpi_operator.install.lease_policy import lease_policy
from support.kinds import manifest
from support.manifests import Document

EARLIER, NOW = "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"
KEY, OTHER_KEY = "sha256:" + "5" * 64, "sha256:" + "6" * 64
NAME, OTHER = "e-" + "1" * 40, "e-" + "2" * 40
NAMES = ("modelName", "modelDigest", "modelFormat", "request", "fallback", "driverMatch", "mode", "accuracy")


def an_engine(status: Document | None = None, name: str = NAME, **spec: Any) -> Document:
    """Return an HPIEngine of the namespace `a`, as the API server has it."""
    document = manifest("HPIEngine")
    document["metadata"] = {"name": name, "namespace": "a", "uid": "u", "generation": 1}
    document["spec"] = {"fallback": "Allowed", "driverMatch": "Exact", "mode": "Latency", **document["spec"], **spec}
    return document if status is None else {**document, "status": status}


def asked(**changes: Any) -> Asked:
    """Return what a pod asks for that means it."""
    spec = an_engine()["spec"]
    return Asked.model_validate({"key": KEY, **{name: spec[name] for name in NAMES if name in spec}, **changes})


def a_report(**fields: Any) -> DecisionReport:
    """Return what a pod tells of a build that ended well."""
    one = {"name": "openvino", "backend": "openvino", "precision": "float32", "verdict": "Chosen"}
    written = {"token": 0, "candidates": [one], "chosen": "openvino", "quality": "Measured", "buildSeconds": 3}
    return DecisionReport.model_validate({**written, **fields})


class Server:
    """An API server with some HPIEngines, which counts the questions."""

    def __init__(self, *engines: Document) -> None:
        """Have these."""
        self.engines = {one["metadata"]["name"]: one for one in engines}
        self.asked = 0

    def find(self, path: str) -> Document | None:
        """Return one."""
        self.asked += 1
        return self.engines.get(path.rpartition("/")[2])


class Clock:
    """A clock that is moved by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


def known(server: Server, *names: str) -> tuple[Engines, Clock]:
    """Return what an agent knows whose HPINode names some engines of the namespace `a`, and its clock."""
    clock = Clock()
    engines = Engines(server, clock)  # type: ignore[arg-type]
    want(engines, *names)
    return engines, clock


def want(engines: Engines, *names: str) -> None:
    """Let the HPINode name some engines."""
    rows = [{"namespace": "a", "name": name, "priority": number} for number, name in enumerate(names)]
    engines.want(NodeSpec.model_validate({"nodeUid": "7f8a1c22-3b1d-4a52-8e11-2c9d4f6b7a80", "engines": rows}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"modelDigest": OTHER_KEY}, False),
        ({"request": {"backend": "onnxruntime"}}, False),
        ({"mode": "Throughput"}, False),
        ({"deviceMemoryBytes": 1_000}, False),
        ({"key": OTHER_KEY}, True),
    ],
)
def test_an_engine_is_the_one_asked_for_when_everything_that_a_pod_knows_is_the_same(
    changes: Document, expected: bool
) -> None:
    assert is_asked(an_engine(), asked(**changes)) is expected


def test_an_engine_of_another_namespace_is_not_found() -> None:
    engines, _ = known(Server(an_engine()), NAME)

    assert (engines.find("a", asked()), engines.find("b", asked())) == (NAME, None)


def test_a_resolution_without_an_engine_is_looked_for_once_a_minute() -> None:
    server = Server(an_engine(mode="Throughput"))
    engines, clock = known(server, NAME, OTHER)

    found = [engines.find("a", asked()), engines.find("a", asked())]
    asked_once = server.asked
    clock.seconds = UNKNOWN_SECONDS
    engines.find("a", asked())

    assert found == [None, None]
    # The spec of the one that is there never changes; the other one may have come.
    assert (asked_once, server.asked) == (2, 2)


def test_an_engine_that_comes_to_be_wanted_is_found_at_once() -> None:
    engines, _ = known(Server(an_engine(name=OTHER)), NAME)
    assert engines.find("a", asked()) is None

    want(engines, NAME, OTHER)

    assert engines.find("a", asked()) == OTHER


def test_an_engine_that_a_pod_was_told_of_is_found_though_the_node_does_not_want_it() -> None:
    server = Server(an_engine())
    engines, _ = known(server)

    found = [engines.find("a", asked(engines=[OTHER, NAME])) for _ in range(2)]

    assert found == [NAME, NAME]
    assert server.asked == 2


STORE_KEY = Tenant("a").key("engines", KEY)
ARTIFACT = {"key": KEY, "digest": OTHER_KEY, "bytes": 1}


@pytest.mark.parametrize(
    ("status", "cached", "builds", "state"),
    [
        (None, set(), set(), "Absent"),
        ({"attempts": 1}, set(), {("a", NAME)}, "Building"),
        ({"chosen": "o", "quality": "Measured", "artifact": ARTIFACT}, set(), set(), "Absent"),
        ({"chosen": "o", "quality": "Measured", "artifact": ARTIFACT}, {STORE_KEY}, set(), "Cached"),
        ({"chosen": "o", "quality": "Measured", "artifact": ARTIFACT}, {KEY}, set(), "Absent"),
        ({"chosen": "o", "quality": "Measured"}, set(), set(), "Cached"),
    ],
)
def test_the_state_of_a_wanted_engine(
    status: Document | None, cached: set[str], builds: set[tuple[str, str]], state: str
) -> None:
    engines, _ = known(Server(an_engine(status)), NAME)

    assert engines.states(cached, builds) == {("a", NAME): state}


@pytest.mark.parametrize(
    ("status", "seconds", "questions"),
    [
        (None, OPEN_SECONDS - 1, 1),
        (None, OPEN_SECONDS, 2),
        ({"chosen": "o", "quality": "Provisional"}, OPEN_SECONDS, 2),
        ({"chosen": "o", "quality": "Measured"}, OPEN_SECONDS, 1),
        ({"chosen": "o", "quality": "Measured"}, FINAL_SECONDS, 2),
    ],
)
def test_what_does_not_change_is_not_read_again(status: Document | None, seconds: float, questions: int) -> None:
    server = Server(an_engine(status))
    engines, clock = known(server, NAME)
    engines.states(set(), set())
    clock.seconds = seconds

    engines.states(set(), set())

    assert server.asked == questions


def test_wanted_engines_are_kept_by_their_priority() -> None:
    status = {"chosen": "o", "quality": "Measured", "artifact": ARTIFACT}
    engines, _ = known(Server(an_engine(), an_engine(status, OTHER)), NAME, OTHER)
    engines.states(set(), set())

    assert engines.kept() == {STORE_KEY: 1}


def test_a_build_counts_an_attempt_and_leaves_what_is_in_use() -> None:
    before = {"attempts": 2, "chosen": "o", "quality": "Provisional", "holder": "n2", "artifact": ARTIFACT}

    status = building(an_engine(before), "n1", NOW)["status"]

    assert (status["attempts"], status["holder"], status["chosen"], status["artifact"]) == (3, "n1", "o", ARTIFACT)
    assert [(one["status"], one["reason"]) for one in status["conditions"]] == [("True", "Building")]


def test_a_decision_takes_back_the_failure_before_it_and_keeps_the_attempts() -> None:
    failure = {"reason": "BuildFailed", "message": "", "time": EARLIER}
    before = {"attempts": 3, "lastFailure": failure, "verifiedOnDrivers": ["550.54.15"]}

    status = decided(an_engine(before), "n1", a_report(verifiedOnDrivers=["560.1"]), NOW)["status"]

    assert "lastFailure" not in status
    assert (status["attempts"], status["verifiedOnDrivers"]) == (3, ["560.1", "550.54.15"])
    EngineStatus.model_validate(status)


def test_a_failure_leaves_a_choice_that_was_there() -> None:
    before = {"attempts": 1, "chosen": "o", "quality": "Provisional"}
    report = FailureReport.model_validate({"token": 0, "reason": "OutOfMemory", "message": "killed"})

    status = failed(an_engine(before), "n1", report, NOW)["status"]

    assert (status["chosen"], status["lastFailure"]["reason"]) == ("o", "OutOfMemory")
    assert [(one["status"], one["reason"]) for one in status["conditions"]] == [("True", "EngineFailed")]


def test_an_unchanged_condition_keeps_its_date() -> None:
    first = decided(an_engine(), "n1", a_report(quality="Provisional"), EARLIER)["status"]

    again = decided(an_engine(first), "n1", a_report(), NOW)["status"]

    assert [one["lastTransitionTime"] for one in again["conditions"]] == [EARLIER]


def test_nobody_elses_condition_is_stated() -> None:
    wanted = {"type": "Wanted", "status": "True", "reason": "InUse", "lastTransitionTime": EARLIER}

    status = decided(an_engine({"conditions": [wanted]}), "n1", a_report(), NOW)["status"]

    assert [one["type"] for one in status["conditions"]] == ["Ready"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, False),
        ({"attempts": 1}, False),
        ({"chosen": "o", "quality": "Provisional"}, False),
        ({"chosen": "o", "quality": "Measured"}, True),
    ],
)
def test_a_decision_is_final_unless_it_is_provisional(status: Document | None, expected: bool) -> None:
    assert is_final(an_engine(status)) is expected


def test_the_agent_knows_the_words_of_the_policy_on_a_lease_that_lives() -> None:
    policy, _ = lease_policy(Account("hpi-agents", "hpi-agent"))

    assert any(IS_HELD in str(one) for one in policy["spec"]["validations"])
