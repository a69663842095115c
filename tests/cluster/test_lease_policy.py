"""Leases of resolutions under the installation's policy: nobody takes one from a holder that lives."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.names import AGENT_FIELD_MANAGER, RESOLUTION
from support.cluster_client import MERGE
from support.eventually import eventually
from support.manifests import Document
from support.policed import ONE, OTHER, Policed, denial, moment
from support.resolution_lease import ResolutionLeases, lease_path

AS_AGENT = {"fieldManager": AGENT_FIELD_MANAGER}


def test_the_protocol_of_agents_passes_whole(policed: Policed) -> None:
    name = policed.engine().split("/")[-2]
    key, path = (policed.namespace, name), f"{lease_path(policed.namespace)}/{name}"
    mine, theirs = ResolutionLeases(policed.agent, 1), ResolutionLeases(policed.other_agent, 1)

    def spec() -> Document:
        found: Document = policed.admin.request("GET", path)["spec"]
        return found

    assert mine.acquire(ONE, key)
    taken_at = spec()["renewTime"]
    assert not theirs.acquire(OTHER, key)
    eventually(lambda: mine.acquire(ONE, key) and spec()["renewTime"] != taken_at)
    mine.release(ONE, key)
    assert theirs.acquire(OTHER, key)

    assert (spec()["holderIdentity"], spec()["leaseTransitions"]) == (OTHER, 1)


def test_a_lease_of_a_dead_agent_is_taken_after_it_has_expired(policed: Policed) -> None:
    path = policed.held_lease(seconds_ago=20, leaseDurationSeconds=15)

    taken = policed.agent.request(
        "PUT", path, policed.lease(path, holderIdentity=ONE, leaseTransitions=5), query=AS_AGENT
    )

    assert taken["spec"]["holderIdentity"] == ONE


def test_a_lease_of_a_live_agent_is_not_taken(policed: Policed) -> None:
    path = policed.held_lease(seconds_ago=5, leaseDurationSeconds=15)
    lease = policed.lease(path, holderIdentity=ONE, leaseTransitions=5)

    said = denial(lambda: policed.agent.request("PUT", path, lease, query=AS_AGENT))

    assert said.startswith(f"Lease {path.split('/')[-1]} is held by node {OTHER} until 20")
    assert said.endswith("; wait, and look again")


@pytest.mark.parametrize("operation", ["Update", "Apply"])
@pytest.mark.parametrize("manager", ["hpi-agent", "kubectl"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_no_invented_time_takes_a_lease_of_a_live_agent(
    policed: Policed, operation: str, manager: str, method: str
) -> None:
    path = policed.held_lease()
    lease = policed.lease(path, holderIdentity=ONE, leaseTransitions=5, renewTime=moment(59))
    [entry] = [one for one in lease["metadata"]["managedFields"] if one["operation"] == "Update"]
    invented = {**entry, "manager": manager, "operation": operation, "time": "2099-01-01T00:00:00Z"}
    lease["metadata"]["managedFields"] = [invented]
    content_type = "application/json" if method == "PUT" else MERGE

    said = denial(
        lambda: policed.agent.request(
            method, path, lease, content_type=content_type, query={"fieldManager": "hpi-agent"}
        )
    )

    assert f"is held by node {OTHER}" in said


@pytest.mark.parametrize("entries", [[], [{}]], ids=["none", "cleared"])
def test_without_the_servers_time_nothing_is_written(policed: Policed, entries: list[Document]) -> None:
    path = policed.held_lease(ONE)
    lease = policed.lease(path)
    lease["metadata"]["managedFields"] = entries

    said = denial(lambda: policed.agent.request("PUT", path, lease))

    assert said.endswith("must be written by POST, PUT or merge patch with fieldManager=hpi-agent")


def test_whoever_edits_a_lease_by_hand_is_not_in_the_agents_way(policed: Policed) -> None:
    path = policed.held_lease(ONE)
    edit = {"metadata": {"annotations": {"seen-by": "a-person"}}}
    policed.admin.request("PATCH", path, edit, content_type=MERGE, query={"fieldManager": "kubectl-edit"})

    renewed = policed.agent.request("PUT", path, policed.lease(path), query=AS_AGENT)

    assert len(renewed["metadata"]["managedFields"]) == 2


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another-holder": ({}, {"holderIdentity": OTHER}, "must name it as holderIdentity"),
    "no-holder": ({}, {"holderIdentity": None}, "must name it as holderIdentity"),
    "no-label": ({"labels": {}}, {}, "is none of a resolution"),
    "another-label": ({"labels": {RESOLUTION: "e-" + "0" * 40}}, {}, "is none of a resolution"),
    "a-name-of-something-else": ({"name": "kube-scheduler", "labels": {RESOLUTION: "kube-scheduler"}}, {}, "is none"),
    "a-finalizer": ({"finalizers": ["example.com/stay"]}, {}, "must have no finalizers"),
    "no-time": ({}, {"renewTime": None}, "must be at most 60 s ahead of the API server"),
    "too-far-ahead": ({}, {"renewTime": "2099-01-01T00:00:00.000000Z"}, f"look at the clock of node {ONE}"),
    "too-long": ({}, {"leaseDurationSeconds": 301}, "leaseDurationSeconds of Lease"),
    "no-duration": ({}, {"leaseDurationSeconds": None}, "must be 1 to 300"),
    "transitions": ({}, {"leaseTransitions": 7}, "counts changes of the holder: it must be 0"),
}


@pytest.mark.parametrize(("metadata", "spec", "message"), WRONG.values(), ids=WRONG)
def test_an_agent_makes_no_lease_with(
    policed: Policed, metadata: dict[str, Any], spec: dict[str, Any], message: str
) -> None:
    lease = policed.lease(**spec)
    lease["metadata"] |= metadata

    said = denial(
        lambda: policed.agent.request("POST", lease_path(policed.namespace), lease, query=AS_AGENT | {"dryRun": "All"})
    )

    assert message in said


@pytest.mark.parametrize(
    "fields", [{"leaseDurationSeconds": 1}, {"leaseDurationSeconds": 300}, {"renewTime": ...}], ids=str
)
def test_an_agent_makes_a_lease_at_every_bound(policed: Policed, fields: dict[str, Any]) -> None:
    lease = policed.lease(**{**fields, **({"renewTime": moment(55)} if "renewTime" in fields else {})})

    made = policed.agent.request("POST", lease_path(policed.namespace), lease, query=AS_AGENT | {"dryRun": "All"})

    assert made["spec"]["holderIdentity"] == ONE


@pytest.mark.parametrize("label", [None, "kube-scheduler"])
def test_a_lease_that_is_none_of_a_resolution_does_not_become_one(policed: Policed, label: str | None) -> None:
    lease = policed.lease(holderIdentity="", renewTime=None)
    lease["metadata"]["labels"] = {} if label is None else {RESOLUTION: label}
    policed.admin.request("POST", lease_path(policed.namespace), lease)
    name = lease["metadata"]["name"]
    path = f"{lease_path(policed.namespace)}/{name}"
    mine = policed.lease(path, holderIdentity=ONE, leaseTransitions=1)
    mine["metadata"]["labels"] = {RESOLUTION: name}

    said = denial(lambda: policed.agent.request("PUT", path, mine, query=AS_AGENT))

    assert "is none of a resolution" in said


def test_an_agent_gives_back_no_lease_of_another(policed: Policed) -> None:
    path = policed.held_lease(seconds_ago=20, leaseDurationSeconds=15)
    lease = policed.lease(path, holderIdentity="")

    said = denial(lambda: policed.agent.request("PUT", path, lease, query=AS_AGENT))

    assert said.endswith(f"or give back what it holds; not '' after '{OTHER}'")


def test_a_lease_changes_hands_only_as_a_transition(policed: Policed) -> None:
    path = policed.held_lease(seconds_ago=20, leaseDurationSeconds=15)
    lease = policed.lease(path, holderIdentity=ONE)

    said = denial(lambda: policed.agent.request("PUT", path, lease, query=AS_AGENT))

    assert said.endswith("counts changes of the holder: it must be 5")
