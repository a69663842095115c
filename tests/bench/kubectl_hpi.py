"""`python -m bench.kubectl_hpi`: how long `kubectl hpi` takes to answer about 300 pipelines on 1,000 nodes.

etcd and the API server are real; the objects are written as operator and agents leave them, each of the size that real
ones have. Every answer is that of the whole command, from exec to its end, through the real kubectl.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hpi_operator.kube.resources import HPI_NODES, NAMESPACES, PIPELINES, Resource
from support.cluster_client import MERGE, ClusterClient
from support.control_plane.binaries import find_binaries
from support.control_plane.cluster import ControlPlane
from support.kinds import manifest
from support.manifests import Document
from support.objects import serve_kinds

PIPELINE_COUNT: Final = 300
NODE_COUNT: Final = 1_000
WRITERS: Final = 8
RUNS: Final = 5


def main(arguments: Sequence[str]) -> int:
    """Fill a cluster, ask, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.kubectl_hpi", description=__doc__)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--pipelines", type=int, default=PIPELINE_COUNT, metavar="N")
    parser.add_argument("--nodes", type=int, default=NODE_COUNT, metavar="N")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help="of each command; medians are told")
    wish = parser.parse_args(arguments)
    with TemporaryDirectory() as folder, ControlPlane(find_binaries(os.environ), parent=Path(folder)) as cluster:
        serve_kinds(cluster)
        with ClusterClient(cluster) as client:
            _fill(client, wish.pipelines, wish.nodes)
        figures = [_figure(cluster, wish.runs, *words) for words in _questions()]
    if wish.output == "json":
        print(json.dumps({"pipelines": wish.pipelines, "nodes": wish.nodes, "answers": figures}, indent=1))
        return 0
    print(f"{wish.pipelines} HPIPipelines, {wish.nodes} HPINodes, {wish.runs} runs each, {os.cpu_count()} cores")
    print(f"load of the machine meanwhile: {os.getloadavg()[0]:.1f}")
    print(f"{'command':<40} {'seconds, median':>16} {'largest':>8} {'CPU s':>6} {'MB so far':>9} {'lines':>6}")
    for one in figures:
        print(
            f"{one['command']:<40} {one['seconds']:>16.2f} {one['largestSeconds']:>8.2f} "
            f"{one['processorSeconds']:>6.2f} {one['megabytes']:>9.0f} {one['lines']:>6}"
        )
    return 0


def _questions() -> Iterator[tuple[str, ...]]:
    yield ("--help",)
    yield ("status", "-A")
    yield ("status", "-A", "-o", "json")
    yield ("status", "ocr-007", "-n", "shop")
    yield ("why", "pipeline/ocr-007", "-n", "shop")
    yield ("explain", "ocr-007", "-n", "shop")
    yield ("nodes",)
    yield ("nodes", "node-0007")


def _fill(client: ClusterClient, pipelines: int, nodes: int) -> None:
    client.request("POST", NAMESPACES.path(), {"metadata": {"name": "shop"}})
    with ThreadPoolExecutor(WRITERS) as pool:
        list(
            pool.map(
                lambda number: _write(client, PIPELINES, "HPIPipeline", f"ocr-{number:03}", "shop"), range(pipelines)
            )
        )
        list(pool.map(lambda number: _write(client, HPI_NODES, "HPINode", f"node-{number:04}", None), range(nodes)))


def _write(client: ClusterClient, resource_: Resource, kind: str, name: str, namespace: str | None) -> None:
    document = manifest(kind, "full")
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    made = client.request("POST", resource_.path(namespace), {**document, "metadata": metadata})
    status: Document = {**document["status"], "observedGeneration": made["metadata"]["generation"]}
    path = resource_.path(namespace, name, "status")
    client.request("PATCH", path, {"status": status}, content_type=MERGE)


def _figure(cluster: ControlPlane, runs: int, *arguments: str) -> dict[str, Any]:
    seconds, lines, before = [], 0, resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(cluster.folder / "home"),
        "KUBECONFIG": str(cluster.admin.kubeconfig),
        "PYTHONUTF8": "1",
    }
    for _ in range(runs):
        begun = time.monotonic()
        done = subprocess.run(
            [str(cluster.binaries["kubectl"]), "hpi", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(time.monotonic() - begun)
        if done.returncode not in (0, 1):
            raise SystemExit(f"kubectl hpi {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        lines = len(done.stdout.splitlines())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "command": " ".join(arguments),
        "seconds": round(statistics.median(seconds), 3),
        "largestSeconds": round(max(seconds), 3),
        "processorSeconds": round(used / runs, 3),
        "megabytes": round(after.ru_maxrss / 1024, 1),
        "lines": lines,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
