"""The chart is upgraded under load; an agent rests; after the uninstall only caches are left."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Final

from first_light.stage import Stage
from first_light.timeline import Timeline
from hpi_core.names import AGENT_NAMESPACE, OPERATOR_NAMESPACE
from support.audit import AuditLog, now
from support.chart import CHART, older_chart
from support.eventually import eventually
from support.process_usage import processor_seconds, resident_bytes

AGENT_ACCOUNT: Final = "system:serviceaccount:hpi-agents:hpi-agent"


def prepare_charts(folder: Path) -> None:
    """Write the release before, from which the upgrade comes, as `chart`, and the present one as `newer`."""
    older_chart(folder / "older")
    (folder / "older" / "hpi").rename(folder / "chart")
    shutil.copytree(CHART, folder / "newer")


def upgrade(stage: Stage, timeline: Timeline) -> None:
    """Upgrade from the release before; kinds are renewed first, and no request fails."""
    with stage.under_load(timeline, "helm upgrade from the chart before, under load") as step:
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


def rest(stage: Stage, timeline: Timeline, minutes: float) -> None:
    """Leave everything alone and look at what the node's agent uses and writes meanwhile."""
    with timeline.step(f"nothing happens for {minutes:g} minutes") as step:
        processes, audit, since = _agent_processes(stage), AuditLog(stage.cluster), now()
        begun, before = time.monotonic(), sum(map(processor_seconds, processes))
        time.sleep(minutes * 60)
        used = (sum(map(processor_seconds, processes)) - before) / (time.monotonic() - begun)
        writes = audit.writes(user=AGENT_ACCOUNT, since=since)
        step.tell(
            agent_millicores=f"{used * 1e3:.2f}",
            agent_resident=f"{sum(map(resident_bytes, processes)) / 1e6:.1f} MB",
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


def _agent_processes(stage: Stage) -> list[int]:
    """Return the processes of the agent's container, from its control group (either version)."""
    [pod] = stage.pods("app.kubernetes.io/component=agent", AGENT_NAMESPACE)
    [status] = [one for one in pod["status"]["containerStatuses"] if one["name"] == "agent"]
    name = status["containerID"].removeprefix("containerd://")
    found = next(Path("/sys/fs/cgroup").glob(f"**/*{name}*/cgroup.procs"))
    return [int(line) for line in found.read_text(encoding="utf-8").split()]
