"""Where no kubelet is: the pods of Jobs are run here, with the command and the rights that they have in the cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Final

import yaml

from hpi_operator.install.installation import Account
from support.cluster_client import ClusterClient
from support.control_plane.cluster import ControlPlane
from support.installation import a_token
from support.manifests import Document

PAUSE_SECONDS: Final = 0.1
SECONDS: Final = 60
MODULES: Final = {"hpi-operator": "hpi_operator"}
"""What the images have under these names."""


class JobHands:
    """Runs every pod of a namespace that a Job has made, between `with` and its end."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        """Describe them."""
        self._cluster, self._namespace = cluster, namespace
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._play, name="job hands")
        self.ended: list[tuple[list[str], int, str]] = []
        """Command, exit code and output of each container that was run."""

    def __enter__(self) -> JobHands:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _play(self) -> None:
        with ClusterClient(self._cluster) as client:
            path = f"/api/v1/namespaces/{self._namespace}/pods"
            while not self._stopping.wait(PAUSE_SECONDS):
                pods, _ = client.items(path, labelSelector="batch.kubernetes.io/job-name")
                for pod in pods:
                    if pod["status"].get("phase") == "Pending":
                        self._run(client, path, pod)

    def _run(self, client: ClusterClient, path: str, pod: Document) -> None:
        [container] = pod["spec"]["containers"]
        command, arguments = container["command"], container.get("args", [])
        account = Account(self._namespace, pod["spec"]["serviceAccountName"])
        kubeconfig = self._kubeconfig(a_token(client, account, pod=pod))
        done = subprocess.run(
            [sys.executable, "-m", MODULES[command[0]], *arguments],
            env={"PATH": os.defpath, "KUBECONFIG": kubeconfig, "HOME": str(self._cluster.folder / "home")},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        self.ended.append(([*command, *arguments], done.returncode, done.stdout + done.stderr))
        state: dict[str, Any] = {"exitCode": done.returncode, "reason": "Completed" if not done.returncode else "Error"}
        status = {
            "phase": "Failed" if done.returncode else "Succeeded",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": state},
                }
            ],
        }
        name = pod["metadata"]["name"]
        client.request(
            "PATCH", f"{path}/{name}/status", {"status": status}, content_type="application/merge-patch+json"
        )

    def _kubeconfig(self, token: str) -> str:
        cluster = {"server": self._cluster.url, "certificate-authority": str(self._cluster.authority)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "job", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "job"}}],
            "current-context": "here",
        }
        path = self._cluster.folder / "job-kubeconfig"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return str(path)
