"""The chart is upgraded under load; an agent rests; after the uninstall only caches are left."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Final

from first_light.beginning import read_time
from first_light.stage import AGENT_NAMESPACE, CHART, OPERATOR_NAMESPACE, Stage, assert_none_failed
from first_light.timeline import Timeline
from support.audit import AuditLog, now
from support.chart import older_chart
from support.eventually import eventually
from support.manifests import Document

AGENT_ACCOUNT: Final = "system:serviceaccount:hpi-agents:hpi-agent"


def prepare_charts(folder: Path) -> None:
    """Write the release before, from which the upgrade comes, as `chart`, and the present one as `newer`."""
    older_chart(folder / "older")
    (folder / "older" / "hpi").rename(folder / "chart")
    shutil.copytree(CHART, folder / "newer")


def upgrade(stage: Stage, timeline: Timeline) -> None:
    """Upgrade from the release before; kinds are renewed first, and no request fails."""
    with (
        timeline.step("helm upgrade from the chart before, under load") as step,
        stage.load(stage.address("ocr")) as load,
    ):
        chart = stage.values.parent / "newer"
        stage.run_helm("upgrade", "hpi", str(chart), "-f", str(stage.values), "--timeout", "5m")
        for what, namespace in (
            ("deployment/hpi-operator", OPERATOR_NAMESPACE),
            ("daemonset/hpi-agent", AGENT_NAMESPACE),
        ):
            stage.kubectl("rollout", "status", what, "-n", namespace, "--timeout=240s")
        stage.wait_for("ocr", "Ready", "True", None, 240.0)
        [release] = re.findall(r"hpi-(\d\S+)", stage.run_helm("list", "--filter", "^hpi$"))
        step.tell(chart=release)
    step.tell(load=load.told())
    assert_none_failed(load)


def rest(stage: Stage, timeline: Timeline, minutes: float) -> None:
    """Leave everything alone and look at what the node's agent uses and writes meanwhile."""
    with timeline.step(f"nothing happens for {minutes:g} minutes") as step:
        audit, since, before = AuditLog(stage.cluster), now(), _agent_statistics(stage)
        time.sleep(minutes * 60)
        after, writes = _agent_statistics(stage), audit.writes(user=AGENT_ACCOUNT, since=since)
        spent = int(after["cpu"]["usageCoreNanoSeconds"]) - int(before["cpu"]["usageCoreNanoSeconds"])
        passed = (read_time(after["cpu"]["time"]) - read_time(before["cpu"]["time"])).total_seconds()
        step.tell(
            agent_millicores=f"{spent / passed / 1e6:.2f}",
            agent_resident=f"{int(after['memory']['rssBytes']) / 1e6:.1f} MB",
            agent_working_set=f"{int(after['memory']['workingSetBytes']) / 1e6:.1f} MB",
            agent_writes=len(writes),
        )


def uninstall(stage: Stage, timeline: Timeline, cache: Path) -> None:
    """Take the pipeline and the release away; caches stay, and nothing hangs."""
    with timeline.step("pipeline deleted, helm uninstall") as step:
        stage.kubectl("delete", "hpi", "ocr", "--timeout=120s")
        eventually(lambda: not stage.get("pods", "-n", "default")["items"], 120.0, pause_seconds=0.5)
        stage.run_helm("uninstall", "hpi", "--wait", "--timeout", "3m")
        left = stage.kubectl(
            "get", "deployments,daemonsets,pods,services", "-A", "-l", "app.kubernetes.io/part-of=hpi", "-o", "name"
        )
        assert not left.strip(), f"left by the uninstall: {left}"
        engines = len(list(cache.rglob("engine.json")))
        step.tell(engines_left_in_the_cache=engines)
        assert engines > 0, f"no engine in {cache}"


def _agent_statistics(stage: Stage) -> Document:
    """Return what the kubelet counts of the agent's container; it looks every ten seconds or so."""
    told = json.loads(stage.kubectl("get", "--raw", f"/api/v1/nodes/{stage.cluster.node_name}/proxy/stats/summary"))
    [pod] = [one for one in told["pods"] if one["podRef"]["namespace"] == AGENT_NAMESPACE]
    [container] = [one for one in pod["containers"] if one["name"] == "agent"]
    found: Document = container
    return found
