"""A runtime that the node's agent installs from wheels on the node, for sites without a registry; it serves a page."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Final

import yaml

from first_light.stage import PIPELINE, Stage
from first_light.timeline import Timeline
from hpi_agent.plugins.variants import LockedList, find_variant
from hpi_core.names import AGENT_NAMESPACE, NODE_WHEELHOUSE
from image_build.wheelhouse import WHEELHOUSE, fill
from support.eventually import eventually
from support.image_builds.base import PYTHON
from support.manifests import Document
from support.project import ROOT

NAME: Final = "from-wheels"
"""Of the HPIRuntime, and of the pipeline that runs on it."""
VARIANT: Final = "hpi-cpu"
FEATURES: Final = ("ocr", "pipelines")
NEEDS: Final = ("podSecurity=privileged", "agent.resources.limits.memory=2Gi")
"""What the chart's values say of runtimes with this delivery."""
INSTALL_SECONDS: Final = 600
SERVE_SECONDS: Final = 300.0


def deliver_and_serve(stage: Stage, timeline: Timeline, cache: Path) -> None:
    """Put wheels on the node, make the HPIRuntime, and read a page on what the agent has installed."""
    locked = _locked()
    with timeline.step("wheels are put on the node, which has no route out") as step:
        count = _provide_wheels(cache / NODE_WHEELHOUSE, locked)
        step.tell(wheels=count)
    with timeline.step("helm upgrade: self-tests may mount a folder of the node, the agent has room to install"):
        chart, values = str(stage.values.parent / "newer"), str(stage.values)
        stage.run_helm("upgrade", "hpi", chart, "-f", values, *(word for one in NEEDS for word in ("--set", one)))
        stage.kubectl("rollout", "status", "daemonset/hpi-agent", "-n", AGENT_NAMESPACE, "--timeout=240s")
    with timeline.step("a runtime of delivery Store is installed by the agent, and its self-test passes") as step:
        stage.apply(_runtime(stage, locked))
        stage.kubectl("wait", "--for=condition=Usable", f"hpiruntime/{NAME}", f"--timeout={INSTALL_SECONDS}s")
        step.tell(installed=_kept_by_node(stage))
    with timeline.step("a pipeline is served by it, on a read-only mount") as step:
        # A folder of the node is what no other level allows.
        stage.enforce("privileged")
        stage.apply(_pipeline())
        url = eventually(lambda: stage.address(NAME), SERVE_SECONDS, pause_seconds=0.5)
        texts = eventually(lambda: stage.read(url), SERVE_SECONDS, pause_seconds=0.5)
        status = stage.status(NAME)
        assert status["runtime"] == NAME, status
        step.tell(lines=len(texts), runtime=status["runtime"])
    with timeline.step("pipeline and runtime are deleted"):
        stage.kubectl("delete", "hpi", NAME, "--timeout=120s")
        stage.kubectl("delete", "hpiruntime", NAME, "--timeout=120s")
        stage.enforce("restricted")


def _locked() -> LockedList:
    variant = find_variant(VARIANT, ROOT / "configs").with_features(FEATURES)
    [locked] = [one for one in variant.lists if one.python == PYTHON]
    return locked


def _provide_wheels(place: Path, locked: LockedList) -> int:
    """Link the wheels that images/build.py has fetched, or fetch them; return how many there are."""
    source = ROOT / WHEELHOUSE
    fill(source, locked.paths, PYTHON, platform.machine(), None, lambda line: print(f"            {line}", flush=True))
    place.mkdir(mode=0o755)
    wheels = list(source.glob("*.whl"))
    for wheel in wheels:
        try:
            os.link(wheel, place / wheel.name)
        except OSError:
            # The run's folder may be another file system.
            shutil.copyfile(wheel, place / wheel.name)
    return len(wheels)


def _runtime(stage: Stage, locked: LockedList) -> Document:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    image = yaml.safe_load(stage.values.read_text(encoding="utf-8"))["agent"]["image"]
    return {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPIRuntime",
        "metadata": {"name": NAME},
        "spec": {
            "variant": VARIANT,
            "version": "0.0.1",
            "delivery": "Store",
            "accelerator": "CPU",
            "backends": ["onnxruntime", "openvino"],
            "python": PYTHON,
            "lockDigest": locked.digest,
            "architectures": [architecture],
            "images": [{"architecture": architecture, "image": image}],
        },
    }


def _pipeline() -> Document:
    document: Document = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))
    document["metadata"]["name"] = NAME
    document["spec"] |= {"replicas": 1, "runtime": {"name": NAME}}
    return document


def _kept_by_node(stage: Stage) -> str:
    """Return how the one node tells of the runtime."""
    [node] = stage.get("hpinodes")["items"]
    [row] = [one for one in node["status"]["runtimes"] if one["name"] == NAME]
    return f"{row['state']}, backends {', '.join(row.get('backends', ()))}"
