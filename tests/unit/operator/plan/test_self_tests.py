"""Self-tests of a node: one at a time, until their result is on record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hpi_core.names import SELF_TEST_ACCOUNT
from hpi_operator.plan.intent import Plan
from hpi_operator.plan.node import self_test_name
from support.manifests import Document
from support.nodes import a_node
from support.observed import (
    CPU_RUNTIME,
    GPU_RUNTIME,
    NOW,
    a_digest,
    a_pool,
    a_runtime,
    an_observed_node,
    uid_of,
)
from support.planned_nodes import plan, self_tests_in, told


def live(planned: Plan, **status: Any) -> Document:
    """Return the one self-test that a plan makes, as it is in the cluster."""
    [test] = self_tests_in(planned)
    return {**test, "metadata": {**test["metadata"], "uid": "u"}, **({"status": status} if status else {})}


def test_a_self_test_owns_a_device_and_nothing_else() -> None:
    [test] = self_tests_in(plan(an_observed_node(a_node("g", gpus=2), pools=[a_pool(runtimes=[GPU_RUNTIME])])))
    spec, [container] = test["spec"], test["spec"]["containers"]

    assert container["args"] == ["self-test", "--device", "gpu:0"]
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "4Gi", "nvidia.com/gpu": "1"},
    }
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "g"}
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", 600)
    assert spec["securityContext"]["runAsNonRoot"]
    assert {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"} in container["env"]
    assert test["metadata"]["namespace"] == "hpi-system"
    assert test["metadata"]["ownerReferences"][0]["uid"] == uid_of("g")


def test_a_self_test_holds_one_token_which_is_for_the_agent_of_its_node() -> None:
    [test] = self_tests_in(plan(an_observed_node(a_node("n"))))
    spec, [container] = test["spec"], test["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in container["env"]}
    [source] = spec["volumes"][1]["projected"]["sources"]

    assert (spec["automountServiceAccountToken"], spec["serviceAccountName"]) == (False, SELF_TEST_ACCOUNT)
    assert source["serviceAccountToken"]["audience"] == "hpi-agent"
    assert told["HPI_AGENT"] == "http://$(HOST_IP):8470"
    assert told["HPI_AGENT_TOKEN"] == f"{container['volumeMounts'][1]['mountPath']}/token"
    assert (told["HPI_RUNTIME"], told["HPI_LOCK_DIGEST"]) == (CPU_RUNTIME, a_digest("a"))
    assert "onnxruntime" in told["HPI_BACKENDS"].split(",")


def ended(seconds_ago: float, **terminated: Any) -> Document:
    """Return the status of a self-test whose container was killed."""
    finished = (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")
    state = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": finished, **terminated}
    return {"phase": "Failed", "containerStatuses": [{"state": {"terminated": state}}]}


@pytest.mark.parametrize(
    ("seconds_ago", "told_of", "deleted", "look_again"),
    [(0, 0, 0, 60), (59, 0, 0, 1), (60, 1, 0, 540), (599, 1, 0, 1), (600, 1, 1, 1)],
)
def test_a_test_that_ended_without_a_word_is_told_of_and_then_made_anew(
    seconds_ago: int, told_of: int, deleted: int, look_again: int
) -> None:
    node = a_node("n")
    test = live(plan(an_observed_node(node)), **ended(seconds_ago))

    planned = plan(an_observed_node(node, self_tests=[test]))

    assert (len(planned.events), len(planned.delete)) == (told_of, deleted)
    assert planned.look_again_seconds == look_again
    assert all("OOMKilled, exit code 137" in event.message for event in planned.events)


def test_a_test_that_ended_and_whose_result_is_on_record_is_not_told_of() -> None:
    node = a_node("n")
    test = live(plan(an_observed_node(node)), **ended(60))

    planned = plan(an_observed_node(node, self_tests=[test], hpi_node=told(node, state="Failed")))

    assert (planned.events, planned.look_again_seconds) == ((), None)


def test_a_self_test_asks_for_a_slice_where_whole_devices_are_not_offered() -> None:
    [test] = self_tests_in(
        plan(an_observed_node(a_node("g", mig={"1g.5gb": 7}), pools=[a_pool(runtimes=[GPU_RUNTIME])]))
    )

    assert "nvidia.com/mig-1g.5gb" in test["spec"]["containers"][0]["resources"]["limits"]
    assert "nvidia.com/gpu" not in test["spec"]["containers"][0]["resources"]["limits"]


def test_a_self_test_lands_on_its_node_whatever_taints_it() -> None:
    [test] = self_tests_in(plan(an_observed_node(a_node("n", taints=["dedicated=ml:NoSchedule", "x:NoExecute"]))))

    assert test["spec"]["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"},
        {"key": "x", "operator": "Exists", "effect": "NoExecute"},
    ]


def test_one_self_test_runs_at_a_time() -> None:
    node = a_node("g", gpus=1)

    first = plan(an_observed_node(node))
    during = plan(an_observed_node(node, self_tests=[live(first, phase="Running")]))
    after = plan(an_observed_node(node, self_tests=[live(first, phase="Succeeded")]))

    assert len(self_tests_in(first)) == 1
    assert self_tests_in(during) == []
    assert len(self_tests_in(after)) == 1
    assert self_tests_in(after)[0]["metadata"]["name"] != live(first)["metadata"]["name"]


@pytest.mark.parametrize("fields", [{"cordoned": True}, {"ready": False}])
def test_a_node_that_takes_no_pods_is_not_tested(fields: dict[str, Any]) -> None:
    assert self_tests_in(plan(an_observed_node(a_node("n", **fields)))) == []


@pytest.mark.parametrize(
    ("state", "is_tested"), [("Passed", False), ("Failed", False), ("Running", True), (None, True)]
)
def test_a_result_on_record_is_not_asked_for_again(state: str | None, is_tested: bool) -> None:
    node = a_node("n")

    assert bool(self_tests_in(plan(an_observed_node(node, hpi_node=told(node, state=state))))) is is_tested


NO_IMAGE: Document = {
    "phase": "Pending",
    "containerStatuses": [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "a@sha256:0"'}}}
    ],
}


def test_a_test_that_cannot_start_is_told_with_pod_container_and_image_and_keeps_no_other_waiting() -> None:
    other = a_runtime("other", version="0.9", letter="b")
    seen = an_observed_node(a_node("n"))
    stuck = live(plan(seen), **NO_IMAGE)

    then = plan(replace(seen, self_tests=(stuck,), runtimes=(*seen.runtimes, other)))

    [event] = then.events
    name = stuck["metadata"]["name"]
    expected = f'{CPU_RUNTIME}: pod {name}, container self-test: ImagePullBackOff: Back-off pulling image "a@sha256:0"'
    assert (event.reason, event.type, event.message) == ("SelfTestCannotStart", "Warning", expected)
    assert len(self_tests_in(then)) == 1
    assert then.delete == ()


@pytest.mark.parametrize(("state", "goes"), [(None, True), ("Passed", False)])
def test_a_test_of_an_image_that_was_corrected_since_is_made_anew(state: str | None, goes: bool) -> None:
    node = a_node("n")
    seen = an_observed_node(node, hpi_node=told(node, state=state))
    [runtime] = [one for one in seen.runtimes if one.metadata.name == CPU_RUNTIME]
    before = live(plan(an_observed_node(node)), **NO_IMAGE)
    images = [one.model_copy(update={"image": f"corrected@{a_digest('c')}"}) for one in runtime.spec.images]
    spec = runtime.spec.model_copy(update={"images": tuple(images)})

    then = plan(replace(seen, self_tests=(before,), runtimes=(runtime.model_copy(update={"spec": spec}),)))

    assert [one.reason for one in then.delete] == (["the runtime has another image since"] if goes else [])


def test_another_lock_is_tested_anew() -> None:
    node = a_node("n")

    seen = an_observed_node(node, runtimes=[a_runtime(letter="b")], hpi_node=told(node, letter="a"))

    assert len(self_tests_in(plan(seen))) == 1


def test_a_test_goes_when_it_has_ended_and_its_result_is_on_record() -> None:
    node = a_node("n")
    test = live(plan(an_observed_node(node)), phase="Succeeded")

    before = plan(an_observed_node(node, self_tests=[test])).delete
    running = plan(an_observed_node(node, self_tests=[{**test, "status": {}}], hpi_node=told(node))).delete
    [deletion] = plan(an_observed_node(node, self_tests=[test], hpi_node=told(node))).delete

    assert (before, running) == ((), ())
    assert (deletion.key.name, deletion.uid) == (test["metadata"]["name"], "u")


def test_a_test_of_a_runtime_that_is_not_wanted_goes() -> None:
    node = a_node("n")
    test = live(plan(an_observed_node(node)), phase="Running")

    [deletion] = plan(an_observed_node(node, self_tests=[test], runtimes=[])).delete

    assert deletion.reason == "the node shall not have the runtime"


@pytest.mark.parametrize("change", ["owner", "whole", "going"])
def test_a_test_is_not_deleted_that_is_somebody_elses_or_while_the_picture_is_not_whole(change: str) -> None:
    node = a_node("n")
    test = live(plan(an_observed_node(node)), phase="Running")
    if change == "owner":
        test["metadata"]["ownerReferences"] = []
    if change == "going":
        test["metadata"]["deletionTimestamp"] = "2026-03-01T10:00:00Z"

    seen = an_observed_node(node, self_tests=[test], runtimes=[], complete=change != "whole")

    assert plan(seen).delete == ()


def test_tests_of_two_runtimes_two_nodes_and_two_locks_never_share_a_name() -> None:
    view = an_observed_node(a_node("b-c")).node
    names = {
        self_test_name(view, a_runtime("a")),
        self_test_name(replace(view, name="c"), a_runtime("a-b")),
        self_test_name(view, a_runtime("a", letter="b")),
        self_test_name(replace(view, uid="another"), a_runtime("a")),
        self_test_name(replace(view, name="n" * 253), a_runtime("r" * 200)),
    }

    assert len(names) == 5
    assert all(len(name) <= 63 for name in names)
