"""A runtime that the node's agent installs: which pods mount it, when it is tested, and who is not allowed to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpi_core.api.v1alpha1.node import NodeSpec
from hpi_operator.plan.cluster_status import plan_pool, plan_runtime
from hpi_operator.plan.intent import Manifest, Plan
from hpi_operator.plan.node import plan_node
from hpi_operator.plan.observed import ObservedNode, ObservedPool, ObservedRuntime
from hpi_operator.plan.pipeline import plan_pipeline
from hpi_operator.plan.runtime_choice import RuntimeRecord
from support.manifests import Document
from support.nodes import a_node
from support.observed import (
    CLASSES,
    CPU_RUNTIME,
    NAMESPACE,
    NOW,
    a_digest,
    a_pool,
    a_runtime,
    an_hpi_node,
    an_observed_node,
    observed,
)
from support.planned_nodes import self_tests_in

STORE = a_runtime(delivery="Store")
IMAGE = a_runtime("image", version="0.0.1")
RUNTIMES = {"name": "runtimes", "hostPath": {"path": "/var/lib/hpi/runtimes", "type": "Directory"}}
MOUNT = {"name": "runtimes", "mountPath": "/var/lib/hpi/runtimes", "readOnly": True}
VARIABLES = {
    "HPI_RUNTIMES": "/var/lib/hpi/runtimes",
    "HPI_VARIANT": "hpi-cpu",
    "HPI_LOCK_DIGEST": a_digest("a"),
}
WANTED = {"name": CPU_RUNTIME, "lockDigest": a_digest("a"), "delivery": "Store", "variant": "hpi-cpu"}


def templates(made: Plan) -> list[Document]:
    """Return the pods of everything that a pipeline is made of."""
    return [one["spec"]["template"]["spec"] for one in made.apply if one["kind"] in ("Deployment", "Job")]


def condition(status: Manifest | None, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    assert status is not None
    [one] = [one for one in status["conditions"] if one["type"] == type_]
    return one["status"], one["reason"], one["message"]


def variables(spec: Document) -> dict[str, Any]:
    """Return the variables of a pod that have values."""
    [container] = spec["containers"]
    return {one["name"]: one.get("value") for one in container["env"]}


def test_serving_pods_mount_the_environments_of_the_node_read_only_and_are_told_which_is_theirs() -> None:
    [pod] = templates(plan_pipeline(observed(runtimes=[STORE]), CLASSES))

    assert RUNTIMES in pod["volumes"]
    assert MOUNT in pod["containers"][0]["volumeMounts"]
    assert variables(pod).items() >= VARIABLES.items()


def test_pods_of_an_image_mount_nothing_of_the_node() -> None:
    [pod] = templates(plan_pipeline(observed(runtimes=[IMAGE]), CLASSES))

    assert not any("hostPath" in one for one in pod["volumes"])
    assert not VARIABLES.keys() & variables(pod).keys()


def test_the_folder_is_that_of_the_installation() -> None:
    seen = observed(runtimes=[STORE])

    [pod] = templates(plan_pipeline(replace(seen, settings=replace(seen.settings, node_folder="/data")), CLASSES))

    assert {"path": "/data/runtimes", "type": "Directory"} in [one.get("hostPath") for one in pod["volumes"]]


@pytest.mark.parametrize(
    ("level", "allowed"), [("", True), ("privileged", True), ("baseline", False), ("restricted", False)]
)
def test_a_namespace_that_allows_no_host_paths_is_told_so_before_any_pod_is_made(level: str, allowed: bool) -> None:
    made = plan_pipeline(observed(runtimes=[STORE], pod_security=level), CLASSES)

    assert (templates(made) != []) is allowed
    told = condition(made.status, "Placed")
    assert (told[1] == "NoMatchingRuntime") is not allowed
    words = f"namespace {NAMESPACE} enforces Pod Security {level}, which forbids it: label it"
    assert (words in told[2]) is not allowed


def test_a_namespace_that_allows_no_host_paths_gets_an_older_runtime_that_is_an_image() -> None:
    made = plan_pipeline(observed(runtimes=[STORE, IMAGE], pod_security="restricted"), CLASSES)

    assert [one["containers"][0]["image"] for one in templates(made)] == [IMAGE.spec.images[0].image]


def test_a_record_survives_being_written_down() -> None:
    record = RuntimeRecord("r", "image@x", "amd64", "hpi-cpu", a_digest("a"))

    assert RuntimeRecord.from_json(record.to_json()) == record
    assert RuntimeRecord("r", "image@x").to_json() == {"name": "r", "image": "image@x"}


# Nodes.


def a_look(state: str | None, message: str = "", level: str = "", lock: str = "a") -> ObservedNode:
    """Return a node on which its agent says how far the runtime is."""
    node = a_node("n")
    row = {"name": CPU_RUNTIME, "lockDigest": a_digest(lock), "state": state, "message": message}
    told = an_hpi_node(node, spec={"runtimes": [WANTED]}, status={"runtimes": [row] if state else []})
    return an_observed_node(node, runtimes=[STORE], hpi_node=told, pod_security=level)


def test_an_agent_is_told_of_which_variant_a_runtime_is() -> None:
    [hpi_node, *_] = plan_node(a_look(None), CLASSES).apply

    assert hpi_node["spec"]["runtimes"] == [WANTED]
    NodeSpec.model_validate(hpi_node["spec"])


@pytest.mark.parametrize(
    ("look", "is_tested"),
    [
        (a_look(None), False),
        (a_look("Installing"), False),
        (a_look("Failed"), False),
        (a_look("Installed"), True),
        (a_look("Installed", lock="b"), False),
        (a_look("Installed", level="baseline"), False),
        (a_look("Installed", level="privileged"), True),
    ],
    ids=["nothing", "installing", "failed", "installed", "another lock", "no host paths", "host paths"],
)
def test_a_runtime_is_tested_when_it_lies_on_the_node(look: ObservedNode, is_tested: bool) -> None:
    assert (self_tests_in(plan_node(look, CLASSES)) != []) is is_tested


def test_a_self_test_mounts_the_environments_of_the_node_read_only() -> None:
    [test] = self_tests_in(plan_node(a_look("Installed"), CLASSES))

    assert RUNTIMES in test["spec"]["volumes"]
    assert MOUNT in test["spec"]["containers"][0]["volumeMounts"]
    assert variables(test["spec"]).items() >= VARIABLES.items()


# Sums.


@pytest.mark.parametrize(
    ("state", "level", "reason", "words"),
    [
        ("Installing", "", "RuntimeInstalling", "on 1 of 1 nodes"),
        ("Failed", "", "RuntimeInstallFailed", "on 1 of 1 nodes; n: no room"),
        ("Installed", "", "SelfTestRunning", "on none of 1 nodes yet"),
        ("Installed", "restricted", "HostPathsForbidden", "namespace hpi-system, where self-tests run, enforces Pod"),
    ],
)
def test_the_runtime_says_how_far_its_installation_is(state: str, level: str, reason: str, words: str) -> None:
    node = a_look(state, "no room").hpi_node
    assert node is not None

    status = plan_runtime(ObservedRuntime(STORE, 1, (node,), 0, NOW, pod_security=level)).status

    assert condition(status, "Usable")[:2] == ("False", reason)
    assert words in condition(status, "Usable")[2]
    assert status is not None
    assert status["nodes"]["failed"] == (state == "Failed")


@pytest.mark.parametrize(
    ("state", "kind", "why"),
    [
        ("Installing", "Waiting", f"{CPU_RUNTIME} is being installed: fetching"),
        ("Failed", "Failed", f"{CPU_RUNTIME} is not installed: fetching"),
    ],
)
def test_the_pool_says_what_its_node_waits_for(state: str, kind: str, why: str) -> None:
    look, pool = a_look(state, "fetching"), a_pool()

    seen = ObservedPool(pool, 1, NOW, (), {pool.metadata.name: NOW}, ((look.node, look.hpi_node),), (STORE,), NOW)
    status = plan_pool(seen).status

    assert status is not None
    assert [(one["state"], one["reason"]) for one in status["waiting"]] == [(kind, why)]
