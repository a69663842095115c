"""The cluster, the chart and the page, as every step of the end-to-end run uses them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from first_light.timeline import Step, Timeline
from hpi_operator.plan.delivery import ENFORCE
from support.eventually import eventually
from support.manifests import Document
from support.node.cluster import NodeCluster
from support.project import ROOT

TESTS: Final = ROOT / "tests"
PIPELINE: Final = ROOT / "configs" / "pipelines" / "ocr.yaml"
NAMESPACE: Final = "default"
LINE: Final = "background. These markers are pixels that we can label"
"""A line of the page that every answer must have."""
COMMAND_SECONDS: Final = 900.0
LOAD_SECONDS: Final = 20.0
"""How long requests are sent at least, so that what comes a moment after an event is seen too."""


@dataclass
class Load:
    """Requests that are being sent, and their report once they have ended."""

    process: subprocess.Popen[str]
    report: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """Return how many of those sent failed, and the medians."""
        one = self.report
        return (
            f"{one['failed']} of {one['sent']} failed, p50 {one['p50Milliseconds']} ms, p99 {one['p99Milliseconds']} ms"
        )


@dataclass(frozen=True)
class Stage:
    """Where the steps take place."""

    cluster: NodeCluster
    helm: Path
    page: Path
    values: Path
    folder: Path

    def get(self, *what: str) -> Document:
        """Return what `kubectl get … -o json` prints."""
        document: Document = json.loads(self.kubectl("get", *what, "-o", "json"))
        return document

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as the administrator; return what it printed.

        Raises:
            AssertionError: It failed.
        """
        return self.inside([str(self.cluster.binaries["kubectl"]), *arguments], stdin=stdin)

    def inside(self, command: list[str], seconds: float = COMMAND_SECONDS, stdin: str = "") -> str:
        """Run a program inside the cluster's network as the administrator; return what it printed.

        Raises:
            AssertionError: It failed.
        """
        done = subprocess.run(
            self.cluster.command_inside(command),
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def run_helm(self, *arguments: str) -> str:
        """Run helm inside the cluster's network; return what it printed."""
        return self.inside([str(self.helm), *arguments])

    def kubectl_hpi(self, *arguments: str) -> str:
        """Return what `kubectl hpi` prints, whatever its exit code says of the pipeline."""
        command = [sys.executable, "-m", "hpi_operator.kubectl", *arguments]
        done = subprocess.run(
            self.cluster.command_inside(command),
            env={**self._environment(), "COLUMNS": "160"},
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply documents as a person does."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents, sort_keys=False))

    def enforce(self, level: str) -> None:
        """Have a level of Pod Security enforced where the pipelines are."""
        self.kubectl("label", "namespace", NAMESPACE, f"{ENFORCE}={level}", "--overwrite")

    def patch(self, name: str, spec: Mapping[str, Any]) -> None:
        """Merge fields into the spec of a pipeline."""
        self.kubectl("patch", "hpi", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def status(self, name: str) -> Document:
        """Return the status of a pipeline."""
        status: Document = self.get("hpi", name).get("status", {})
        return status

    def condition(self, name: str, type_: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition of a pipeline."""
        for one in self.status(name).get("conditions", ()):
            if one["type"] == type_:
                return one["status"], one["reason"], one.get("message", "")
        return "", "", ""

    def wait_for(self, name: str, type_: str, status: str, reason: str | None = None, seconds: float = 120.0) -> str:
        """Wait for a condition of a pipeline about its newest spec; return its message.

        It looks every two seconds: kubectl takes half a processor for a moment, and what is measured must be quiet.
        """

        def look() -> tuple[str]:
            found = self.get("hpi", name)
            told = found.get("status", {})
            about, generation = told.get("observedGeneration"), found["metadata"]["generation"]
            assert about == generation, f"the status is about generation {about} of {generation}"
            [one] = [one for one in told["conditions"] if one["type"] == type_]
            assert one["status"] == status, one
            assert reason in (None, one["reason"]), one
            return (one.get("message", ""),)

        return eventually(look, seconds, pause_seconds=2.0)[0]

    def pods(self, selector: str, namespace: str = NAMESPACE) -> list[Document]:
        """Return pods that are not being deleted."""
        items: list[Document] = self.get("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def address(self, service: str) -> str:
        """Return the URL of a Service by its address: this cluster has no DNS."""
        spec = self.get("service", service)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def read(self, url: str) -> list[str]:
        """Return the lines of the page, read once.

        Raises:
            AssertionError: There was no answer, or a wrong one.
        """
        report: dict[str, Any] = json.loads(self.inside([*self._sender(url), "--most", "1", "--seconds", "60"]))
        assert (report["sent"], report["failed"]) == (1, 0), report["failures"]
        texts: list[str] = report["texts"]
        return texts

    def fetch(self, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON that an address inside the cluster's network answers.

        Raises:
            AssertionError: It did not.
        """
        sent = [] if body is None else [json.dumps(body)]
        return json.loads(self.inside([sys.executable, "-m", "first_light.fetch", url, *sent], 90.0))

    @contextlib.contextmanager
    def under_load(self, timeline: Timeline, name: str) -> Iterator[Step]:
        """Do a step while the page is read again and again, 20 s at least; a request that fails makes the step fail."""
        with timeline.step(name) as step:
            with self._load(self.address("ocr")) as load:
                yield step
            step.tell(load=load.told())
            assert load.report["sent"] > 0, load.report
            assert load.report["failed"] == 0, load.report

    def _sender(self, url: str) -> list[str]:
        return [sys.executable, "-m", "first_light.load", url, str(self.page), "--expect", LINE]

    @contextlib.contextmanager
    def _load(self, url: str) -> Iterator[Load]:
        """Send the page again and again for as long as the block lasts, and 20 s at least; its report is there then."""
        begun = time.monotonic()
        process = subprocess.Popen(
            self.cluster.command_inside(self._sender(url)),
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running = Load(process)
        try:
            yield running
            time.sleep(max(0.0, LOAD_SECONDS - (time.monotonic() - begun)))
            assert process.poll() is None, "the load has ended by itself"
            output, _ = process.communicate(timeout=120)
            running.report = json.loads(output)
        finally:
            process.kill()
            process.wait()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.cluster.admin.kubeconfig),
            "PYTHONPATH": os.pathsep.join(str(one) for one in (TESTS, ROOT / "crds/src", ROOT / "operator/src")),
        }
