"""Revisions of a pipeline: what its pods are made of, named by its digest, kept to go back to.

How many pods there are, how they are reached and how they are replaced is no part of a revision: changing it restarts
nothing. The runtimes are: another image is another revision, with a failure budget of its own and a way back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import yaml
from pydantic import ValidationError

from hpi_core.api.base import API_VERSION, GROUP
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.digest import digest_of_bytes, digest_of_json
from hpi_core.names import REVISION, child_name
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.runtime_choice import RuntimeRecord

DIGITS: Final = 10
"""Hexadecimal digits in the name of a revision: 40 bits, among the few revisions of one pipeline."""

ELSEWHERE: Final = ("replicas", "autoscaling", "rollout", "route", "availability")
"""Fields of the spec that change no pod."""
ELSEWHERE_IN_PLACEMENT: Final = "policy"
"""The one field of `placement` that changes no pod."""

AGENTS: Final = ("pipeline", "config", "module", "modules", "inference", "build", "serving", "license")
"""Fields that a serving pod reads; the others say how it comes to be."""

OPAQUE: Final = frozenset({"inline", "backendConfig", "engineConfig"})
"""Fields with PaddleX's own content, in which what is empty means something."""

MANIFEST: Final = "pipeline.yaml"
RECORD: Final = "revision.json"
FAILED: Final = f"{GROUP}/failed"
"""Annotation of a revision's ConfigMap: why it was given up, as JSON."""
SUPERSEDED: Final = f"{GROUP}/superseded"
"""Annotation of the ConfigMap of a failed revision: another one has been wanted since, so that it is tried anew when it
is wanted again."""

MAX_DATA_BYTES: Final = 1_000_000
"""Largest data of a ConfigMap, a little below what an API server takes (1 MiB)."""


@dataclass(frozen=True)
class Failure:
    """A pod that shows why a revision failed."""

    reason: str
    message: str
    pod: str | None = None
    container: str | None = None
    exit_code: int | None = None
    time: str = ""
    """When it was seen, RFC 3339."""

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.reason}{f' in pod {self.pod}' if self.pod else ''}: {self.message}"


@dataclass(frozen=True)
class Revision:
    """One revision."""

    name: str
    number: int
    """Counted from 1; the newest has the largest."""
    created_at: datetime
    pipeline: HPIPipeline
    """The pipeline as it was, without the fields that change no pod."""
    runtimes: Mapping[str, RuntimeRecord] = field(default_factory=dict)
    """Runtimes by class label, of the classes that the cluster offered when the revision was made."""
    failure: Failure | None = None
    """Why it was given up; None: it was not."""
    superseded: bool = False
    """Whether another revision has been wanted since it failed."""
    data: Mapping[str, str] | None = None
    """What its ConfigMap holds, byte by byte; None: there is none yet."""
    spec: str = ""
    """`spec_digest` of its spec."""

    @property
    def config_map(self) -> str:
        """Name of the ConfigMap that holds it."""
        return child_name(self.pipeline.metadata.name, self.name)

    @property
    def given_up(self) -> bool:
        """Whether it has failed and is not tried again."""
        return self.failure is not None and not self.superseded


def written_spec(pipeline: HPIPipeline) -> dict[str, Any]:
    """Return the spec as JSON with every default written out and what is absent left out."""
    written: dict[str, Any] = pipeline.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written


def pod_spec(pipeline: HPIPipeline, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the part of the spec that pods are made of, defaults written out.

    Args:
        pipeline: The pipeline.
        config: Content of the ConfigMap's key that `config.configMapKeyRef` names: it stands in the revision itself, so
            that a later change of the ConfigMap is another revision, and the old one can still be gone back to.
    """
    spec = {key: value for key, value in written_spec(pipeline).items() if key not in ELSEWHERE}
    spec["placement"].pop(ELSEWHERE_IN_PLACEMENT, None)
    if config is not None:
        spec["config"] = {"inline": dict(config)}
    return spec


def spec_digest(pipeline: HPIPipeline, config: Mapping[str, Any] | None = None) -> str:
    """Return the digest of the part of the spec that pods are made of.

    Defaults do not count: a field that a later release adds moves no revision by its being there.
    """
    written = pipeline.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    spec = {key: value for key, value in written.items() if key not in ELSEWHERE}
    spec.get("placement", {}).pop(ELSEWHERE_IN_PLACEMENT, None)
    if config is not None:
        spec["config"] = {"inline": dict(config)}
    return digest_of_json(_without_empty(spec))


def _without_empty(value: Any) -> Any:
    """Return a value without empty mappings and lists, which mean the same as absent ones."""
    if isinstance(value, Mapping):
        kept = {key: one if key in OPAQUE else _without_empty(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if key in OPAQUE or one not in ({}, [])}
    return [_without_empty(one) for one in value] if isinstance(value, list) else value


def new_revision(
    pipeline: HPIPipeline,
    config: Mapping[str, Any] | None,
    runtimes: Mapping[str, RuntimeRecord],
    number: int,
    now: datetime,
) -> Revision:
    """Return the revision that a pipeline's spec asks for, on the runtimes that were chosen."""
    spec = spec_digest(pipeline, config)
    parts = {"spec": spec, "runtimes": {label: one.to_json() for label, one in runtimes.items()}}
    name = digest_of_json(parts).partition(":")[2][:DIGITS]
    restored = _restored(pipeline, pod_spec(pipeline, config))
    return Revision(name, number, now, restored, dict(runtimes), spec=spec)


def stored_revisions(pipeline: HPIPipeline, config_maps: Iterable[Manifest]) -> tuple[Revision, ...]:
    """Return the revisions that ConfigMaps hold, the newest first; those that cannot be read are left out."""
    found = (_stored(pipeline, manifest) for manifest in config_maps)
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (-one.number, one.name)))


def is_readable(pipeline: HPIPipeline, config_map: Manifest) -> bool:
    """Return whether the ConfigMap of a revision can be read: a release may have taken away a field that it has."""
    return _stored(pipeline, config_map) is not None


def _stored(pipeline: HPIPipeline, manifest: Manifest) -> Revision | None:
    metadata = manifest["metadata"]
    data: Mapping[str, str] = manifest.get("data") or {}
    name = (metadata.get("labels") or {}).get(REVISION)
    metadata_of = pipeline.metadata
    if name is None or RECORD not in data or MANIFEST not in data:
        return None
    read = _read(metadata_of.name, metadata_of.namespace or "", name, data[RECORD], data[MANIFEST])
    if read is None or metadata["name"] != read.config_map:
        return None
    annotations = metadata.get("annotations") or {}
    kept = {MANIFEST: data[MANIFEST], RECORD: data[RECORD]}
    return replace(read, failure=_failure(annotations.get(FAILED)), superseded=SUPERSEDED in annotations, data=kept)


# The same few texts are read at every pass of every pipeline, and reading one takes a millisecond.
@lru_cache(maxsize=4096)
def _read(pipeline: str, namespace: str, name: str, record: str, manifest: str) -> Revision | None:
    base = {"name": pipeline, **({"namespace": namespace} if namespace else {})}
    try:
        written = json.loads(record)
        if written["manifest"] != digest_of_bytes([manifest.encode()]):
            # Somebody made it anew by hand: its pods were made of something else.
            return None
        restored = HPIPipeline.model_validate(
            {"apiVersion": API_VERSION, "kind": "HPIPipeline", "metadata": base, "spec": written["spec"]}
        )
        runtimes = {label: RuntimeRecord.from_json(one) for label, one in written.get("runtimes", {}).items()}
        moment = datetime.fromisoformat(written["createdAt"])
        return Revision(name, int(written["number"]), moment, restored, runtimes, spec=spec_digest(restored))
    except (KeyError, ValueError, TypeError, AttributeError, ValidationError):
        return None


def _failure(annotation: str | None) -> Failure | None:
    if annotation is None:
        return None
    try:
        return Failure(**json.loads(annotation))
    except (ValueError, TypeError):
        # Somebody wrote it by hand: that it failed counts, whatever it says.
        return Failure("Error", annotation)


def config_map(revision: Revision, base: Manifest) -> Manifest:
    """Return the ConfigMap of a revision.

    Args:
        revision: The revision.
        base: Metadata of every child: namespace, owner, labels.
    """
    metadata = {**base, "name": revision.config_map, "labels": {**base["labels"], REVISION: revision.name}}
    annotations = {}
    if revision.failure is not None:
        told = {key: value for key, value in vars(revision.failure).items() if value is not None}
        annotations[FAILED] = json.dumps(told, sort_keys=True, ensure_ascii=False)
        if revision.superseded:
            annotations[SUPERSEDED] = "true"
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        # What pods were made of never changes; what is written once is stated again byte by byte.
        "immutable": True,
        "data": dict(revision.data) if revision.data is not None else revision_data(revision),
    }


def revision_data(revision: Revision) -> dict[str, str]:
    """Return what the ConfigMap of a new revision holds: the manifest for its pods, and the record to go back by."""
    spec = written_spec(revision.pipeline)
    kept = {key: value for key, value in spec.items() if key not in ELSEWHERE}
    kept["placement"] = {key: value for key, value in spec["placement"].items() if key != ELSEWHERE_IN_PLACEMENT}
    agents = {
        "apiVersion": API_VERSION,
        "kind": "HPIPipeline",
        "metadata": {"name": revision.pipeline.metadata.name},
        "spec": {key: spec[key] for key in AGENTS if key in spec},
    }
    manifest = yaml.safe_dump(agents, allow_unicode=True, width=120)
    record = {
        "number": revision.number,
        "createdAt": revision.created_at.isoformat(),
        "spec": kept,
        "runtimes": {label: one.to_json() for label, one in revision.runtimes.items()},
        "manifest": digest_of_bytes([manifest.encode()]),
    }
    return {MANIFEST: manifest, RECORD: json.dumps(record, sort_keys=True, ensure_ascii=False)}


def data_bytes(data: Mapping[str, str]) -> int:
    """Return the size of what a ConfigMap holds."""
    return sum(len(key.encode()) + len(text.encode()) for key, text in data.items())


def with_present(revision: Revision, present: HPIPipeline) -> HPIPipeline:
    """Return the pipeline of a revision with everything that changes no pod as it is now."""
    now = present.spec
    placement = revision.pipeline.spec.placement.model_copy(update={ELSEWHERE_IN_PLACEMENT: now.placement.policy})
    changed = {key: getattr(now, key) for key in ELSEWHERE}
    spec = revision.pipeline.spec.model_copy(update={**changed, "placement": placement})
    return present.model_copy(update={"spec": spec, "status": None})


def _restored(pipeline: HPIPipeline, spec: Mapping[str, Any]) -> HPIPipeline:
    metadata = pipeline.metadata
    base = {"name": metadata.name, **({"namespace": metadata.namespace} if metadata.namespace else {})}
    return HPIPipeline.model_validate(
        {"apiVersion": API_VERSION, "kind": "HPIPipeline", "metadata": base, "spec": dict(spec)}
    )


def newest_of_spec(stored: Sequence[Revision], digest: str) -> Revision | None:
    """Return the newest stored revision of a spec, None where there is none."""
    return next((one for one in stored if one.spec == digest), None)
