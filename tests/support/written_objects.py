"""Objects in memory that are written by server-side apply: what `Performer` and `Recorder` call of an `Api`.

It merges nothing: whole manifests are kept as they came. What a real API server does with fields and their owners is
tested on a real one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hpi_core.errors import HpiError
from hpi_operator.kube.errors import NotThere
from hpi_operator.kube.resources import Resource
from hpi_operator.plan.intent import Deletion, Manifest, ObjectKey, key_of


@dataclass
class WrittenObjects:
    """The objects, and what was done with them in order."""

    objects: dict[ObjectKey, Manifest] = field(default_factory=dict)
    done: list[tuple[str, str]] = field(default_factory=list)
    """Verb and object: a status has `/status` behind its name, an apply by force `!` behind its verb."""
    errors: dict[str, list[HpiError]] = field(default_factory=dict)
    """What is answered instead, by verb and object: `apply Service ns/ocr`; each error once, the last for good."""
    every_error: HpiError | None = None
    """What is answered to everything; None: nothing of the kind."""
    _versions: count[int] = field(default_factory=lambda: count(100))

    def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, metadata_only: bool = False
    ) -> Manifest | None:
        key = resource.key(name, namespace or "")
        self._answer("get", key)
        return self.objects.get(key)

    def apply(self, manifest: Manifest, *, force: bool, priority: int = 5, subresource: str | None = None) -> Manifest:
        key = key_of(manifest)
        self._note("apply!" if force and subresource is None else "apply", key, subresource)
        uid = manifest["metadata"].get("uid") or f"uid-of-{key.name}"
        metadata = {**manifest["metadata"], "uid": uid, "resourceVersion": str(next(self._versions))}
        if subresource is not None:
            if key not in self.objects:
                raise NotThere("it is gone")
            self.objects[key] = {**self.objects[key], "status": manifest["status"], "metadata": metadata}
        else:
            self.objects[key] = {**manifest, "metadata": metadata}
        return self.objects[key]

    def merge(
        self, resource: Resource, name: str, patch: Manifest, *, namespace: str | None = None, priority: int = 5
    ) -> Manifest:
        key = resource.key(name, namespace or "")
        self._note("merge", key, None)
        return {"metadata": {"name": name, "resourceVersion": str(next(self._versions)), **patch["metadata"]}}

    def create(self, manifest: Manifest, *, priority: int = 5) -> Manifest:
        key = key_of(manifest)
        self._note("create", key, None)
        self.objects[key] = manifest
        return manifest

    def delete(self, deletion: Deletion, *, priority: int = 5) -> None:
        self._note("delete", deletion.key, None)
        self.objects.pop(deletion.key, None)

    def created(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind, in order."""
        return [dict(one) for key, one in self.objects.items() if key.kind == kind]

    def _note(self, verb: str, key: ObjectKey, subresource: str | None) -> None:
        self.done.append((verb, f"{key}{'/' + subresource if subresource else ''}"))
        self._answer(verb, key)

    def _answer(self, verb: str, key: ObjectKey) -> None:
        if self.every_error is not None:
            raise self.every_error
        errors = self.errors.get(f"{verb} {key}", [])
        if errors:
            raise errors.pop(0) if len(errors) > 1 else errors[0]
