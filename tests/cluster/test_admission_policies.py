"""What holds a node agent to the objects of its own node: the installation's policies, asked with tokens of pods."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from hpi_core.names import AGENT_FIELD_MANAGER
from support.cluster_client import MERGE, ClusterClient
from support.manifests import Document
from support.policed import (
    EVENTS,
    NUMBERS,
    ONE,
    OTHER,
    OWN,
    Policed,
    a_condition,
    an_event,
    denial,
    moment,
    refusal,
    say_wanted,
    state,
)
from support.resolution_lease import lease_path

AS_AGENT = {"fieldManager": AGENT_FIELD_MANAGER}
KEY, OTHER_KEY = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ARTIFACT = {"key": KEY, "digest": "sha256:" + "a" * 64, "bytes": 1_000}
OTHERS_BYTES = {**ARTIFACT, "digest": "sha256:" + "b" * 64}
REBUILT = {**OTHERS_BYTES, "key": OTHER_KEY}
DECIDED = {"holder": OTHER, "chosen": "tensorrt", "quality": "Measured", "artifact": ARTIFACT, "attempts": 2}
PROVISIONAL = {**DECIDED, "quality": "Provisional"}


# HPINodes.


def test_an_agent_writes_the_status_of_its_own_hpi_node(policed: Policed) -> None:
    written = state(policed.agent, f"{OWN}/hpinodes/{ONE}/status", "HPINode", {"agentVersion": "0.1.0"})

    assert written["status"]["agentVersion"] == "0.1.0"


def test_an_agent_is_told_which_hpi_node_is_its_own(policed: Policed) -> None:
    said = denial(lambda: state(policed.agent, f"{OWN}/hpinodes/{OTHER}/status", "HPINode", {"agentVersion": "6"}))

    assert said == (
        f"the agent of node {ONE} may not write the status of HPINode {OTHER}: it may write that of HPINode {ONE} alone"
    )


def test_a_token_of_a_node_that_had_the_name_before_is_none_of_this_one(policed: Policed) -> None:
    name = f"policed-again-{next(NUMBERS)}"
    policed.admin.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    old = policed.agent_on(name)
    policed.admin.request("DELETE", f"/api/v1/nodes/{name}")
    uid = policed.admin.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})["metadata"]["uid"]
    path = policed.make_hpi_node(name, uid)

    said = denial(lambda: state(old, path, "HPINode", {"agentVersion": "0.1.0"}))

    new = policed.agent_on(name)
    assert said.startswith(f"HPINode {name} is of the Node with UID {uid}, the agent's token of that with UID ")
    assert state(new, path, "HPINode", {"agentVersion": "0.1.0"})["status"]


def test_a_status_carries_no_label_and_no_finalizer_with_it(policed: Policed) -> None:
    metadata = {"labels": {"a": "b"}, "finalizers": ["example.com/stay"], "annotations": {"a": "b"}}
    body = {"metadata": metadata, "status": {"agentVersion": "0.2.0"}}

    written = policed.agent.request("PATCH", f"{OWN}/hpinodes/{ONE}/status", body, content_type=MERGE)

    assert written["status"]["agentVersion"] == "0.2.0"
    assert not metadata.keys() & written["metadata"].keys()


# HPIEngines.


def test_an_agent_decides_an_engine_in_its_own_name(policed: Policed) -> None:
    engine = policed.engine(conditions=[a_condition("Wanted")])
    ready = a_condition("Ready")

    written = state(policed.agent, engine, "HPIEngine", {**DECIDED, "holder": ONE, "conditions": [ready]})

    assert written["status"]["holder"] == ONE
    assert {one["type"] for one in written["status"]["conditions"]} == {"Wanted", "Ready"}


@pytest.mark.parametrize("holder", [OTHER, None], ids=["another", "nobody"])
def test_an_agent_decides_no_engine_in_the_name_of(policed: Policed, holder: str | None) -> None:
    engine = policed.engine()
    status = {"chosen": "tensorrt", **({} if holder is None else {"holder": holder})}

    said = denial(lambda: state(policed.agent, engine, "HPIEngine", status))

    name = engine.split("/")[-2]
    assert said == f"the agent of node {ONE} must name it as status.holder of HPIEngine {name}, not '{holder or ''}'"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [a_condition("Wanted")]),
        ([a_condition("Wanted")], [a_condition("Wanted", "False")]),
        ([a_condition("Wanted"), a_condition("Ready")], [a_condition("Ready")]),
    ],
    ids=["added", "changed", "removed"],
)
def test_whether_an_engine_is_wanted_is_not_an_agents_word(
    policed: Policed, before: list[Document], after: list[Document]
) -> None:
    engine = policed.engine(conditions=before)
    body: Document = {"status": {"holder": ONE, "conditions": after}}

    said = denial(lambda: policed.agent.request("PATCH", engine, body, content_type=MERGE))

    assert "is the operator's; leave it as it is" in said


@pytest.mark.parametrize(
    "change",
    [
        {"artifact": OTHERS_BYTES},
        {"artifact": REBUILT},
        {"artifact": None},
        {"chosen": "paddle"},
        {"chosen": None},
        {"quality": "Provisional"},
        {"quality": None},
    ],
    ids=str,
)
def test_a_decision_that_is_shared_does_not_change_any_more(policed: Policed, change: Document) -> None:
    engine = policed.engine(**DECIDED)
    body: Document = {"status": {"holder": ONE, **change}}

    said = denial(lambda: policed.agent.request("PATCH", engine, body, content_type=MERGE))

    assert "is decided: chosen, quality, artifact of its status do not change any more" in said


def test_of_a_decision_without_an_artifact_none_comes_later(policed: Policed) -> None:
    engine = policed.engine(holder=OTHER, chosen="onnxruntime", quality="Measured")
    body: Document = {"status": {"holder": ONE, "artifact": ARTIFACT}}

    said = denial(lambda: policed.agent.request("PATCH", engine, body, content_type=MERGE))

    assert "is decided" in said


def test_a_decision_that_is_shared_grows_by_what_others_find(policed: Policed) -> None:
    engine = policed.engine(**DECIDED)
    found = {"holder": ONE, "verifiedOnDrivers": ["550.90.07"], "lastUsed": "2026-03-02"}

    written = policed.agent.request("PATCH", engine, {"status": found}, content_type=MERGE)

    assert written["status"]["verifiedOnDrivers"] == ["550.90.07"]
    assert written["status"]["artifact"] == ARTIFACT


def test_a_provisional_decision_is_taken_again(policed: Policed) -> None:
    engine = policed.engine(**PROVISIONAL)
    anew = {"holder": ONE, "chosen": "onnxruntime", "quality": "Measured", "artifact": REBUILT}

    written = policed.agent.request("PATCH", engine, {"status": anew}, content_type=MERGE)

    assert written["status"]["artifact"] == REBUILT


def test_of_two_artifacts_of_one_key_the_first_counts(policed: Policed) -> None:
    engine = policed.engine(**PROVISIONAL)
    body: Document = {"status": {"holder": ONE, "artifact": OTHERS_BYTES}}

    said = denial(lambda: policed.agent.request("PATCH", engine, body, content_type=MERGE))

    assert "was published already: of two with one key the first counts" in said


@pytest.mark.parametrize(("attempts", "taken"), [(2, True), (3, True), (1, False), (None, False)], ids=str)
def test_attempts_are_never_forgotten(policed: Policed, attempts: int | None, taken: bool) -> None:
    engine = policed.engine(holder=OTHER, attempts=2)
    body: Document = {"status": {"holder": ONE, "attempts": attempts}}

    def send() -> Document:
        return policed.agent.request("PATCH", engine, body, content_type=MERGE)

    if taken:
        assert send()["status"]["attempts"] == attempts
    else:
        assert "count builds: 2 were begun already" in denial(send)


def test_the_operator_says_whether_an_engine_is_wanted(policed: Policed) -> None:
    engine = policed.engine(**DECIDED, conditions=[a_condition("Ready")])

    written = say_wanted(policed.operator, engine)

    assert {one["type"] for one in written["status"]["conditions"]} == {"Ready", "Wanted"}


def test_the_operator_says_it_of_an_engine_that_no_agent_has_seen(policed: Policed) -> None:
    written = say_wanted(policed.operator, policed.engine())

    assert written["status"]["attempts"] == 0
    assert [one["type"] for one in written["status"]["conditions"]] == ["Wanted"]


@pytest.mark.parametrize(
    "change",
    [
        {"artifact": OTHERS_BYTES},
        {"holder": ONE},
        {"conditions": [a_condition("Wanted"), a_condition("Ready", "False")]},
        {"lastFailure": {"reason": "BuildFailed", "time": "2026-03-01T10:00:00Z"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_operator_decides_no_engine(policed: Policed, change: Document) -> None:
    engine = policed.engine(**DECIDED, conditions=[a_condition("Ready")])

    said = denial(lambda: policed.operator.request("PATCH", engine, {"status": change}, content_type=MERGE))

    assert said.startswith("the operator writes the condition Wanted of HPIEngine ")


# Events.


def test_an_agent_tells_events_in_its_own_name(policed: Policed) -> None:
    told = policed.agent.request("POST", EVENTS.format(policed.namespace), an_event(policed.namespace))

    assert told["reportingInstance"] == ONE


@pytest.mark.parametrize("fields", [{"reportingInstance": OTHER}, {"reportingController": "kubelet"}], ids=str)
def test_an_agent_tells_no_event_in_the_name_of(policed: Policed, fields: dict[str, str]) -> None:
    event = an_event(policed.namespace, **fields)

    said = denial(lambda: policed.agent.request("POST", EVENTS.format(policed.namespace), event))

    assert said.endswith(f"reportingController hpi.paddlex.io/hpi-agent and reportingInstance {ONE}")


# Tokens.


def writes(policed: Policed, client: ClusterClient) -> dict[str, Any]:
    """Return every write that the agent's role allows, each as the agent on `ONE` may make it."""
    engine, lease = policed.engine(), policed.held_lease(ONE)
    leases, events = lease_path(policed.namespace), EVENTS.format(policed.namespace)
    return {
        "hpinodes/status": lambda: state(client, f"{OWN}/hpinodes/{ONE}/status", "HPINode", {"agentVersion": "3"}),
        "hpiengines/status": lambda: state(client, engine, "HPIEngine", {"holder": ONE}),
        "create leases": lambda: client.request("POST", leases, policed.lease(), query=AS_AGENT),
        "update leases": lambda: client.request("PUT", lease, policed.lease(lease), query=AS_AGENT),
        "patch leases": lambda: client.request(
            "PATCH", lease, {"spec": {"renewTime": moment(1)}}, content_type=MERGE, query=AS_AGENT
        ),
        "events": lambda: client.request("POST", events, an_event(policed.namespace)),
    }


def test_a_token_that_says_no_node_writes_nothing(policed: Policed) -> None:
    said = {name: denial(send) for name, send in writes(policed, policed.unbound).items()}

    [message] = set(said.values())
    assert message == (
        f"the token of {policed.installation.agent.user} says no node: only a token that a kubelet has mounted into a "
        "pod of the node agent may write"
    )


def test_the_same_token_of_a_pod_writes_all_of_it(policed: Policed) -> None:
    written = {name: send() for name, send in writes(policed, policed.agent).items()}

    assert len(written) == 6


def test_the_policies_meet_nobody_else(policed: Policed) -> None:
    written = {name: send() for name, send in writes(policed, policed.admin).items()}

    assert len(written) == 6
    assert state(policed.admin, policed.engine(**DECIDED), "HPIEngine", {"holder": OTHER, "artifact": REBUILT})


def test_a_spec_is_never_an_agents(policed: Policed) -> None:
    engine = policed.engine().removesuffix("/status")
    body: Document = {"spec": {"pool": "mine"}}

    for path in (f"{OWN}/hpinodes/{ONE}", engine):
        said = refusal(partial(policed.agent.request, "PATCH", path, body, content_type=MERGE))

        assert f'User "{policed.installation.agent.user}" cannot patch resource' in said
