"""Engines that are built before a revision needs them, on a real API server with played pods and agents."""

from __future__ import annotations

from hpi_operator.kube.resources import DEPLOYMENTS, ENGINES, JOBS
from support.eventually import eventually
from support.manifests import Document
from support.observed import a_digest
from support.operated import Site
from support.pods import a_course

MODULE: Document = {
    "name": "text_detection",
    "model": {"name": "det", "source": "https://models.example/det.onnx", "digest": a_digest("1")},
}


def ahead(**spec: object) -> Document:
    """Return fields of the spec of a pipeline of one model, whose engines are built ahead."""
    return {"config": ..., "modules": ..., "module": MODULE, "build": {"policy": "Prebuild"}, **spec}


def test_an_engine_is_built_and_decided_before_the_first_pod_serves(operated: Site, own: str) -> None:
    slow = {"annotations": a_course(runs_for_seconds=3)}

    operated.create(own, "ocr", **ahead(podTemplate=slow))
    operated.wait(own, "ocr", "EnginesReady", "False", "Prebuilding")
    waiting = operated.children(DEPLOYMENTS, own, "ocr")
    status = operated.serves(own, "ocr")

    [engine] = operated.client.items(ENGINES.path(own))[0]
    [job] = operated.children(JOBS, own, "ocr")
    assert waiting == {}
    eventually(lambda: operated.there(JOBS, own, job)["status"].get("succeeded") == 1)
    assert engine["status"]["chosen"]
    assert status["engines"] == {"wanted": 1, "ready": 1, "building": 0, "failed": 0}
    assert operated.condition(own, "ocr", "EnginesReady")["reason"] == "Prebuilt"
    eventually(lambda: conditions(operated, own)["Wanted"] == "True")
    # By the name in its HPINode an agent knows which HPIEngine a pod speaks of.
    [pod] = operated.ready_pods(own, "ocr").values()
    named = {"namespace": own, "name": engine["metadata"]["name"], "priority": 0}
    eventually(lambda: named in engines_of(operated, pod["spec"]["nodeName"]))
    operated.change(own, "ocr", replicas=0)
    eventually(lambda: named not in engines_of(operated, pod["spec"]["nodeName"]))


def engines_of(operated: Site, node: str) -> list[Document]:
    """Return the HPIEngines that an HPINode names."""
    found = operated.hpi_node(node)
    assert found is not None
    engines: list[Document] = found["spec"].get("engines", [])
    return engines


def conditions(operated: Site, own: str) -> dict[str, str]:
    """Return the conditions of the one HPIEngine of a namespace."""
    [engine] = operated.client.items(ENGINES.path(own))[0]
    return {one["type"]: one["status"] for one in engine["status"]["conditions"]}


def test_a_build_that_fails_is_said_and_keeps_nobody_from_serving(operated: Site, own: str) -> None:
    failing = {"annotations": a_course("crashes", exit_code=3, message="no such opset")}
    operated.create(own, "ocr", **ahead(podTemplate=failing))

    said = operated.wait(own, "ocr", "EnginesReady", "False", "EngineFailed", seconds=120)
    operated.change(own, "ocr", podTemplate=None, build={"policy": "OnDemand"})

    assert "Job ocr-build-" in said["message"]
    operated.serves(own, "ocr")


def test_a_second_pipeline_that_wants_the_same_engine_finds_it_decided(operated: Site, own: str) -> None:
    operated.create(own, "one", **ahead())
    operated.serves(own, "one")

    operated.create(own, "two", **ahead())
    operated.serves(own, "two")

    assert operated.children(JOBS, own, "two") == {}
    assert len(operated.client.items(ENGINES.path(own))[0]) == 1
    assert operated.condition(own, "two", "Accepted")["status"] == "True"
