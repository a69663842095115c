"""Bad days, each under load: no request that was sent may fail."""

from __future__ import annotations

import time
from typing import Any, Final

import yaml

from first_light.beginning import serving_pods
from first_light.models import DAMAGED
from first_light.stage import PIPELINE, Stage
from first_light.timeline import Timeline
from hpi_core.names import AGENT_NAMESPACE, OPERATOR_NAMESPACE, PART
from support.eventually import eventually
from support.manifests import Document

LEASE_SECONDS: Final = 60
AWAY_SECONDS: Final = 60.0
ROLLBACK_SECONDS: Final = 900.0


def broken_revision(stage: Stage, timeline: Timeline) -> None:
    """Roll out a revision whose recogniser is a damaged file; it must be taken back by itself, and serve nobody."""
    before = stage.status("ocr")["revision"]
    good = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["spec"]
    modules = [good["modules"][0], {**good["modules"][1], "model": {**good["modules"][1]["model"]}}]
    modules[1]["model"]["source"] = DAMAGED
    with stage.under_load(timeline, "a broken revision is taken back by itself, under load") as step:
        stage.patch("ocr", {"modules": modules, "rollout": {"progressDeadlineSeconds": 120}})
        message = stage.wait_for("ocr", "Progressing", "False", "RolledBack", ROLLBACK_SECONDS)
        status = stage.status("ocr")
        failure = status["lastFailure"]
        assert status["revision"] == before, (status["revision"], before)
        step.tell(message=message, failure=f"{failure['reason']}: {failure.get('message', '')}")
    with timeline.step("the revision before is asked for again"):
        stage.patch("ocr", {"modules": good["modules"], "rollout": None})
        stage.wait_for("ocr", "Progressing", "False", "RolloutComplete", ROLLBACK_SECONDS)
        stage.wait_for("ocr", "Ready", "True", None, ROLLBACK_SECONDS)


def leader_killed(stage: Stage, timeline: Timeline) -> None:
    """Kill the operator's leader; the other one acts within one lease, and requests go on."""
    lease = stage.get("lease", "hpi-operator", "-n", OPERATOR_NAMESPACE)["spec"]
    leader = leading_pod(stage, lease["holderIdentity"])
    with stage.under_load(timeline, "the operator's leader is killed (SIGKILL), under load") as step:
        stage.cluster.kill_container(OPERATOR_NAMESPACE, leader, "operator")
        killed = time.monotonic()
        document = _small_pipeline("after-the-leader")
        stage.apply(document)
        eventually(lambda: stage.get("deployment", "after-the-leader-cpu"), 4 * LEASE_SECONDS, pause_seconds=0.5)
        holder = stage.get("lease", "hpi-operator", "-n", OPERATOR_NAMESPACE)["spec"]["holderIdentity"]
        step.tell(
            acted_after=f"{time.monotonic() - killed:.1f} s of a lease of {lease['leaseDurationSeconds']} s",
            holder=f"{lease['holderIdentity']} before, {holder} after",
        )
        stage.kubectl("delete", "hpi", "after-the-leader", "--timeout=120s")


def leading_pod(stage: Stage, holder: str) -> str:
    """Return the operator's pod that holds the Lease."""
    names: list[str] = [
        pod["metadata"]["name"] for pod in stage.pods("app.kubernetes.io/component=operator", OPERATOR_NAMESPACE)
    ]
    [name] = [one for one in names if one in holder]
    return name


def api_server_away(stage: Stage, timeline: Timeline) -> None:
    """Stop the API server for a minute; pods serve on, and afterwards everything finds its way back."""
    restarts = _restarts(stage)
    with stage.under_load(timeline, f"the API server is away for {AWAY_SECONDS:.0f} s, under load") as step:
        stage.cluster.stop_api_server(kill=True)
        time.sleep(AWAY_SECONDS)
        stage.cluster.start_api_server()
        stage.kubectl("annotate", "hpi", "ocr", f"first-light/touched={time.time():.0f}", "--overwrite")
        eventually(lambda: _all_ready(stage), 240.0, pause_seconds=1.0)
        step.tell(restarts_of_serving_pods=_restarts(stage) - restarts)


def agent_killed(stage: Stage, timeline: Timeline) -> None:
    """Kill the node's agent; pods serve on, and it comes back and tells the same."""
    [agent] = stage.pods("app.kubernetes.io/component=agent", AGENT_NAMESPACE)
    name = agent["metadata"]["name"]
    before = _agent_restarts(stage, name)
    with stage.under_load(timeline, "the node's agent is killed (SIGKILL), under load") as step:
        stage.cluster.kill_container(AGENT_NAMESPACE, name, "agent")
        killed = time.monotonic()
        eventually(lambda: _agent_restarts(stage, name) > before, 120.0, pause_seconds=0.5)
        eventually(lambda: _is_ready(stage.get("pod", name, "-n", AGENT_NAMESPACE)), 120.0, pause_seconds=0.5)
        step.tell(ready_again_after=f"{time.monotonic() - killed:.1f} s")
        stage.wait_for("ocr", "Ready", "True", None, 180.0)


def _small_pipeline(name: str) -> Document:
    document: Document = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))
    document["metadata"]["name"] = name
    # Its Deployment is what is looked for: no pod of it has to run.
    document["spec"]["replicas"] = 0
    return document


def _restarts(stage: Stage) -> int:
    return sum(one["restartCount"] for pod in serving_pods(stage) for one in pod["status"].get("containerStatuses", ()))


def _agent_restarts(stage: Stage, name: str) -> int:
    pod = stage.get("pod", name, "-n", AGENT_NAMESPACE)
    return sum(int(one["restartCount"]) for one in pod["status"].get("containerStatuses", ()))


def _is_ready(pod: Document) -> bool:
    conditions: list[dict[str, Any]] = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _all_ready(stage: Stage) -> bool:
    """Return whether every pod of ours, and the pipeline, are ready."""
    ours = [
        *stage.pods("app.kubernetes.io/part-of=hpi", OPERATOR_NAMESPACE),
        *stage.pods("app.kubernetes.io/part-of=hpi", AGENT_NAMESPACE),
        *stage.pods(f"{PART}=serving"),
    ]
    return all(map(_is_ready, ours)) and stage.condition("ocr", "Ready")[0] == "True"
