"""First light, end to end: our images on a real kubelet, installed by our chart, and a page read through a Service.

    PYTHONPATH=tests:images python -m first_light            # all of it; needs root on Debian, minutes
    PYTHONPATH=tests:images python -m first_light --until sights --skip engines

Every step prints what it does and how long it took; the time line is a table at the end and JSON in build/first-light.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from first_light import beginning, conversion, delivered, ending, models, sights, trouble
from first_light.images import sizes
from first_light.stage import Stage
from first_light.timeline import Timeline
from hpi_agent.commands.demo import page_bytes
from hpi_core.errors import HpiError
from image_build.images import NAMES
from support.audit import WRITES
from support.control_plane.binaries import prepare_binaries
from support.control_plane.recipe import HELM
from support.image_builds.built import BuiltImages, built_images
from support.node.cluster import NodeCluster
from support.node.programs import prepare_programs
from support.project import ROOT

OUT: Final = ROOT / "build" / "first-light"
CACHE: Final = "/var/lib/hpi"
"""Where the chart has the node's agent keep its cache."""
STEPS: Final = (
    *("engines", "sights", "replica", "broken", "classifier", "leader", "api-server", "agent", "rest", "upgrade"),
    *("delivered", "uninstall", "again"),
)


def main(arguments: Sequence[str]) -> int:
    """Do all of it; return the exit code."""
    parser = argparse.ArgumentParser(prog="first_light", description=__doc__)
    parser.add_argument("--images", type=Path, help="folder with images that are there (default: built if need be)")
    parser.add_argument("--until", choices=STEPS, help="the last step")
    parser.add_argument("--skip", choices=STEPS, nargs="+", default=[], help="steps to leave out")
    parser.add_argument("--rest-minutes", type=float, default=0.0, help="look at the agent at rest for so long")
    parser.add_argument("--keep", action="store_true", help="leave the cluster when a step fails, until Enter")
    parsed = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("first light: a kubelet and its network need root", file=sys.stderr)
        return 2
    timeline = Timeline()
    try:
        with tempfile.TemporaryDirectory(prefix="hpi-first-light-") as folder:
            _run(parsed, timeline, Path(folder))
    except (AssertionError, HpiError) as error:
        print(f"first light: {error}", file=sys.stderr)
        return 1
    finally:
        timeline.write(OUT / "timeline.json")
        print(f"\n{timeline.table()}\n\n{OUT / 'timeline.json'}", flush=True)
    return 0


def _say(line: str) -> None:
    print(f"            {line}", flush=True)


def _run(parsed: argparse.Namespace, timeline: Timeline, folder: Path) -> None:
    with timeline.step("programs: Kubernetes, kubelet, helm, and Debian's containerd and runc"):
        programs = prepare_programs(os.environ, _say)
        helm = prepare_binaries(os.environ, _say, HELM.packages)["helm"]
    with timeline.step("images, built by images/build.py unless nothing has changed") as step:
        built = built_images(_say) if parsed.images is None else BuiltImages(parsed.images)
        step.tell(**sizes(built.folder))
    ending.prepare_charts(folder)
    values = folder / "site.yaml"
    shutil.copyfile(built.site, values)
    page = folder / "page.png"
    page.write_bytes(page_bytes(None))
    with NodeCluster(programs, audit_policy=WRITES, host_folders=(CACHE, models.ON_NODE)) as cluster:
        stage = Stage(cluster, helm, page, values, folder)
        try:
            with timeline.step("images are imported into containerd; no route leads out"):
                for name in NAMES:
                    cluster.import_image(built.archive(name))
            _steps(parsed, stage, timeline)
        except BaseException as error:
            OUT.mkdir(parents=True, exist_ok=True)
            (OUT / "trouble.txt").write_text(sights.trouble(stage), encoding="utf-8")
            print(f"first light: {error}\n  what there was: {OUT / 'trouble.txt'}", file=sys.stderr, flush=True)
            if parsed.keep:
                print(f"KUBECONFIG={cluster.admin.kubeconfig} {' '.join(cluster.command_inside(['kubectl']))}")
                input("Enter ends it: ")
            raise


def _steps(parsed: argparse.Namespace, stage: Stage, timeline: Timeline) -> None:
    cache = stage.cluster.host_path(CACHE)
    models.provide(stage)
    begun = timeline.seconds
    steps: dict[str, Callable[[], None]] = {
        "engines": lambda: beginning.wait_for_engines(stage, timeline, begun),
        "sights": lambda: sights.write(stage, OUT / "sights.txt"),
        "replica": lambda: beginning.one_more_replica(stage, timeline),
        "broken": lambda: trouble.broken_revision(stage, timeline),
        "classifier": lambda: conversion.convert_and_serve(stage, timeline),
        "leader": lambda: trouble.leader_killed(stage, timeline),
        "api-server": lambda: trouble.api_server_away(stage, timeline),
        "agent": lambda: trouble.agent_killed(stage, timeline),
        "rest": lambda: ending.rest(stage, timeline, parsed.rest_minutes),
        "upgrade": lambda: ending.upgrade(stage, timeline),
        "delivered": lambda: delivered.deliver_and_serve(stage, timeline, cache),
        "uninstall": lambda: ending.uninstall(stage, timeline, cache),
        "again": lambda: beginning.install(stage, timeline, "warm cache"),
    }
    beginning.install(stage, timeline, "cold cache")
    for name, step in steps.items():
        if name not in parsed.skip and not (name == "rest" and parsed.rest_minutes == 0):
            step()
        if name == parsed.until:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
