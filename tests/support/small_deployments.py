"""The controller of Deployments of a small cluster."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from datetime import datetime
from itertools import count

from hpi_core.digest import digest_of_json
from hpi_operator.plan.intent import ObjectKey
from support.manifests import Document
from support.small_pods import Pod


class DeploymentController:
    """Makes and takes away pods as the real one does.

    Source:
        kubernetes 1.34, `pkg/controller/deployment`: `rolling.go` (new pods up to replicas and surge; old pods down to
        what must be available, those that are not ready first), `progress.go` (a template that was everywhere once is
        not judged again).
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.pods: dict[str, Pod] = {}
        self._numbers = count(1)
        self._deadlines: dict[ObjectKey, tuple[str, int, datetime]] = {}
        self._complete: dict[ObjectKey, str] = {}
        self._digests: dict[tuple[str, int], str] = {}

    def forget(self, key: ObjectKey) -> None:
        """Take away the pods of a Deployment that was deleted."""
        self.pods = {name: pod for name, pod in self.pods.items() if pod.deployment != key}

    def roll(self, key: ObjectKey, live: Document, now: datetime) -> None:
        """Do one step towards what a Deployment asks for."""
        spec, digest = live["spec"], self._digest(live)
        pods = [pod for pod in self.pods.values() if pod.deployment == key]
        new = [pod for pod in pods if pod.digest == digest]
        old = [pod for pod in pods if pod.digest != digest]
        replicas = spec["replicas"]
        if spec["paused"] and (old or not new):
            self._delete(pods, len(pods) - replicas)
            return
        rolling = spec["strategy"]["rollingUpdate"]
        away, surge = (_share(rolling[name], replicas) for name in ("maxUnavailable", "maxSurge"))
        self._delete(new, len(new) - replicas)
        for _ in range(min(replicas - len(new), replicas + (surge if old else 0) - len(pods))):
            name = f"{key.name}-{next(self._numbers)}"
            self.pods[name] = Pod(name, key, copy.deepcopy(spec["template"]), digest, now)
        if old:
            ready = sum(pod.ready_at is not None for pod in pods)
            not_ready = [pod for pod in old if pod.ready_at is None]
            spare = len(pods) - (replicas - away) - sum(pod.ready_at is None for pod in new)
            self._delete(not_ready, min(spare, len(not_ready)))
            self._delete([pod for pod in old if pod.ready_at is not None], ready - (replicas - away))

    def report(self, key: ObjectKey, live: Document, now: datetime) -> None:
        """Write the status of a Deployment."""
        pods = [pod for pod in self.pods.values() if pod.deployment == key]
        digest = self._digest(live)
        updated = [pod for pod in pods if pod.digest == digest]
        ready = [pod for pod in pods if pod.ready_at is not None]
        if len(updated) == len(pods) == len(ready) == live["spec"]["replicas"]:
            self._complete[key] = digest
        # Progress is another template, or another number of pods that answer: then the deadline begins anew.
        progress, since = (digest, sum(pod.ready_at is not None for pod in updated)), now
        known = self._deadlines.get(key)
        if known is not None and known[:2] == progress and not live["spec"]["paused"]:
            since = known[2]
        self._deadlines[key] = (*progress, since)
        late = (now - since).total_seconds() > live["spec"]["progressDeadlineSeconds"]
        condition = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
        if late and self._complete.get(key) != digest and not live["spec"]["paused"]:
            condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(updated),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "conditions": [condition],
        }

    def _delete(self, pods: Iterable[Pod], number: int) -> None:
        """Delete pods: those without a node first, then those that do not answer."""
        ordered = sorted(pods, key=lambda pod: (pod.node is not None, pod.ready_at is not None, pod.name))
        for pod in ordered[: max(0, number)]:
            del self.pods[pod.name]

    def _digest(self, live: Document) -> str:
        of = (live["metadata"]["uid"], live["metadata"]["generation"])
        if of not in self._digests:
            self._digests[of] = digest_of_json(live["spec"]["template"])
        return self._digests[of]


def _share(asked: int | str, of: int) -> int:
    return asked if isinstance(asked, int) else math.ceil(of * int(asked.rstrip("%")) / 100)
