"""From nothing to a page that is read, to measured engines, to a second replica that starts from the node's cache."""

from __future__ import annotations

from contextlib import AbstractContextManager

from first_light.stage import NAMESPACE, PIPELINE, Stage
from first_light.timeline import Step, Timeline
from hpi_core.moments import read_moment
from support.eventually import eventually
from support.manifests import Document

COLD_SECONDS = 300.0
ENGINE_SECONDS = 1500.0


def install(stage: Stage, timeline: Timeline, words: str) -> None:
    """Install the chart, apply the pipeline as the README says, and read a page through the Service."""
    # What serving pods are asked to keep everywhere, they keep here.
    stage.enforce("restricted")
    begun = timeline.seconds
    with timeline.step(f"helm install, {words}"):
        stage.run_helm("install", "hpi", str(stage.values.parent / "chart"), "-f", str(stage.values))
    with timeline.step("self-test passes: the runtime is usable") as step:
        stage.kubectl("wait", "--for=condition=Usable", "hpiruntime", "--all", "--timeout=300s")
        step.tell(since_install=f"{timeline.seconds - begun:.1f} s")
    with timeline.step("kubectl apply -f configs/pipelines/ocr.yaml"):
        stage.kubectl("apply", "-f", str(PIPELINE))
    with timeline.step(f"first right answer through the Service, {words}") as step:
        url = eventually(lambda: stage.address("ocr"), COLD_SECONDS, pause_seconds=0.5)
        texts = eventually(lambda: stage.read(url), COLD_SECONDS, pause_seconds=0.5)
        step.tell(since_install=f"{timeline.seconds - begun:.1f} s", lines=len(texts))


def wait_for_engines(stage: Stage, timeline: Timeline, begun: float) -> None:
    """Wait until both replicas serve on engines that were measured."""
    with timeline.step("EngineActive: every replica on its measured engine") as step:
        stage.wait_for("ocr", "EngineActive", "True", "Measured", ENGINE_SECONDS)
        step.tell(since_install=f"{timeline.seconds - begun:.1f} s", backend=stage.status("ocr").get("backend", ""))


def one_more_replica(stage: Stage, timeline: Timeline) -> None:
    """Scale up by one, at rest and under load; the new pod takes its engines from the cache of its node."""
    _scale_up(stage, timeline.step("one more replica, from the node's cache, and back"))
    _scale_up(stage, stage.under_load(timeline, "one more replica, and back, under load"))


def _scale_up(stage: Stage, begun: AbstractContextManager[Step]) -> None:
    before = {pod["metadata"]["name"] for pod in serving_pods(stage)}
    with begun as step:
        stage.patch("ocr", {"replicas": len(before) + 1})

        def new_and_ready() -> list[Document]:
            new = [pod for pod in serving_pods(stage) if pod["metadata"]["name"] not in before]
            return [pod for pod in new if ready_since(pod)]

        [pod] = eventually(new_and_ready, 300.0, pause_seconds=0.2)
        created, ready = read_moment(pod["metadata"]["creationTimestamp"]), read_moment(str(ready_since(pod)))
        step.tell(created_to_ready=f"{(ready - created).total_seconds():.0f} s", engines=engines_of(stage, pod))
        stage.patch("ocr", {"replicas": len(before)})
        eventually(lambda: len(serving_pods(stage)) == len(before), 120.0, pause_seconds=0.5)


def serving_pods(stage: Stage) -> list[Document]:
    """Return the pods of the pipeline that serve or will."""
    return stage.pods("hpi.paddlex.io/pipeline=ocr,hpi.paddlex.io/part=serving", NAMESPACE)


def ready_since(pod: Document) -> str | None:
    """Return since when a pod is ready, None where it is not."""
    for one in pod.get("status", {}).get("conditions", ()):
        if one["type"] == "Ready" and one["status"] == "True":
            since: str = one["lastTransitionTime"]
            return since
    return None


def engines_of(stage: Stage, pod: Document) -> str:
    """Return the state of each model's engine in a pod, and where the seconds of its start went."""
    told = stage.fetch(f"http://{pod['status']['podIP']}:8080/engines")
    models = [f"{one['name']} {one['state']} on {one['backend']}" for one in told["models"]]
    seconds = [f"{name} {spent:.1f} s" for name, spent in told.get("startSeconds", {}).items()]
    return "; ".join([*models, "start: " + ", ".join(seconds)])
