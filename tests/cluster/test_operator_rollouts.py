"""Revisions on a real API server with pods that are played: a bad one takes no traffic, and is taken back by itself."""

from __future__ import annotations

from typing import Any

from hpi_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from support.eventually import eventually
from support.manifests import Document
from support.operated import Site
from support.pods import a_course


def with_course(*arguments: Any, **words: Any) -> Document:
    return {"annotations": a_course(*arguments, **words)}


def revisions_of_ready_pods(operated: Site, own: str, name: str) -> set[str]:
    pods = operated.ready_pods(own, name).values()
    return {one["metadata"]["labels"]["hpi.paddlex.io/revision"] for one in pods}


def test_a_revision_whose_pods_fail_is_taken_back_and_says_pod_container_and_message(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=2)
    good = operated.serves(own, "ocr")["revision"]

    operated.change(
        own, "ocr", podTemplate=with_course("crashes", exit_code=3, message="cannot load model", restarts=20)
    )
    said = operated.wait(own, "ocr", "Progressing", "False", "RolledBack")

    status = operated.status(own, "ocr")
    failure = status["lastFailure"]
    assert (status["revision"], failure["revision"]) == (good, status["wantedRevision"])
    assert (failure["container"], failure["exitCode"]) == ("serve", 3)
    assert "cannot load model" in failure["message"]
    assert failure["pod"].startswith("ocr-cpu-")
    assert "cannot load model" in said["message"]
    eventually(lambda: revisions_of_ready_pods(operated, own, "ocr") == {good})
    assert operated.condition(own, "ocr", "Available")["status"] == "True"


def test_while_a_bad_revision_fails_every_old_pod_goes_on_serving(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=2, rollout={"maxFailedReplicas": 0})
    good = operated.serves(own, "ocr")["revision"]
    old = set(operated.ready_pods(own, "ocr"))

    operated.change(own, "ocr", podTemplate=with_course("image-missing"))

    def is_taken_back() -> bool:
        # At every look the old pods are there and ready, and none of the new revision is.
        assert_all_serve(operated, own, old, good)
        return operated.condition(own, "ocr", "Progressing").get("reason") == "RolledBack"

    eventually(is_taken_back, pause_seconds=0.1)
    assert_all_serve(operated, own, old, good)
    failure = operated.status(own, "ocr")["lastFailure"]
    assert (failure["reason"], failure["container"]) == ("ImagePullBackOff", "serve")
    assert failure["pod"] not in old
    assert 'Back-off pulling image "registry.example/hpi-cpu' in failure["message"]


def assert_all_serve(operated: Site, own: str, old: set[str], good: str) -> None:
    ready = operated.ready_pods(own, "ocr")
    if not (old <= set(ready) and revisions_of_ready_pods(operated, own, "ocr") == {good}):
        raise RuntimeError(f"an old pod is not ready, or a new one is: {sorted(ready)} instead of {sorted(old)}")


def test_a_revision_that_was_given_up_is_tried_anew_when_the_spec_changes(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=1)
    operated.serves(own, "ocr")
    operated.change(own, "ocr", podTemplate=with_course("crashes", restarts=20))
    operated.wait(own, "ocr", "Progressing", "False", "RolledBack")

    operated.change(own, "ocr", podTemplate=with_course("serves"))

    status = operated.serves(own, "ocr")
    assert status["revision"] == status["wantedRevision"]


def test_a_revision_and_back_again_ends_at_the_first(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=1)
    first = operated.serves(own, "ocr")["revision"]
    operated.change(own, "ocr", serving={"queue": {"length": 7}})
    eventually(lambda: operated.status(own, "ocr")["revision"] != first)

    operated.change(own, "ocr", serving=None)

    eventually(lambda: operated.status(own, "ocr")["revision"] == first)
    operated.serves(own, "ocr")
    assert revisions_of_ready_pods(operated, own, "ocr") == {first}


CANARY: Document = {
    "strategy": "Canary",
    "steps": [{"weightPercent": 25, "soakSeconds": 2}, {"weightPercent": 50, "soakSeconds": 2}],
}


def test_a_canary_serves_its_share_beside_the_old_revision_and_then_replaces_it(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=4, rollout=CANARY)
    old = operated.serves(own, "ocr")["revision"]

    operated.change(own, "ocr", serving={"queue": {"length": 7}})
    operated.wait(own, "ocr", "Progressing", "True", "CanaryStep")
    canary = operated.there(DEPLOYMENTS, own, "ocr-cpu-canary")
    stable = operated.there(DEPLOYMENTS, own, "ocr-cpu")

    def revision(deployment: Document) -> str:
        word: str = deployment["spec"]["template"]["metadata"]["labels"]["hpi.paddlex.io/revision"]
        return word

    assert (1 <= canary["spec"]["replicas"] < 4, revision(stable)) == (True, old)
    assert revision(canary) != old
    eventually(lambda: operated.status(own, "ocr")["revision"] == revision(canary))
    status = operated.serves(own, "ocr")
    eventually(lambda: operated.find(DEPLOYMENTS, own, "ocr-cpu-canary") is None)
    assert "canary" not in status
    assert [one["reason"] for one in operated.events(own, "CanaryStep")]


def test_a_canary_that_fails_is_taken_away_and_the_old_revision_was_never_touched(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=4, rollout=CANARY)
    good = operated.serves(own, "ocr")["revision"]
    old = set(operated.ready_pods(own, "ocr"))

    operated.change(own, "ocr", podTemplate=with_course("crashes", message="no such device", restarts=20))

    operated.wait(own, "ocr", "Progressing", "False", "RolledBack", says="no such device")
    eventually(lambda: operated.find(DEPLOYMENTS, own, "ocr-cpu-canary") is None)
    assert_all_serve(operated, own, old, good)


def test_revisions_beyond_the_limit_are_cleared_away(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=1, rollout={"revisionHistoryLimit": 1})
    operated.serves(own, "ocr")

    for length in (5, 6, 7):
        before = operated.status(own, "ocr")["revision"]
        operated.change(own, "ocr", serving={"queue": {"length": length}})
        eventually(lambda before=before: operated.status(own, "ocr")["revision"] != before)  # type: ignore[misc]
        operated.serves(own, "ocr")

    eventually(lambda: len(operated.children(CONFIG_MAPS, own, "ocr")) == 2)
