"""Revisions of a pipeline: what its pods are made of, named by its digest, kept to go back to.

How many pods there are, how they are reached and how they are replaced is no part of a revision: changing it restarts
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import yaml
from pydantic import ValidationError

from hpi_core.api.base import API_VERSION, GROUP
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.digest import digest_of_json
from hpi_core.names import REVISION, child_name
from hpi_operator.plan.intent import Manifest, ObjectKey

DIGITS: Final = 10
"""Hexadecimal digits in the name of a revision: 40 bits, among the few revisions of one pipeline."""

ELSEWHERE: Final = ("replicas", "autoscaling", "rollout", "route", "availability")
"""Fields of the spec that change no pod."""

AGENTS: Final = ("pipeline", "config", "module", "modules", "inference", "build", "serving", "license")
"""Fields that a serving pod reads; the others say how it comes to be."""

MANIFEST: Final = "pipeline.yaml"
RECORD: Final = "revision.json"
FAILED: Final = f"{GROUP}/failed"
"""Annotation of a revision's ConfigMap: why it was given up."""


@dataclass(frozen=True)
class Revision:
    """One revision."""

    name: str
    number: int
    """Counted from 1; the newest has the largest."""
    created_at: datetime
    pipeline: HPIPipeline
    """The pipeline as it was, without the fields that change no pod."""
    failed: str | None = None
    """Why it was given up; None: it was not."""

    @property
    def config_map(self) -> str:
        """Name of the ConfigMap that holds it."""
        return child_name(self.pipeline.metadata.name, self.name)


def written_spec(pipeline: HPIPipeline) -> dict[str, Any]:
    """Return the spec as JSON with every default written out and what is absent left out."""
    written: dict[str, Any] = pipeline.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written


def pod_spec(pipeline: HPIPipeline, config_text: str | None) -> dict[str, Any]:
    """Return the part of the spec that pods are made of.

    Args:
        pipeline: The pipeline.
        config_text: Text of the ConfigMap's key that `config.configMapKeyRef` names: it stands in the revision itself,
            so that a later change of the ConfigMap is another revision, and the old one can still be gone back to.
    """
    spec = {key: value for key, value in written_spec(pipeline).items() if key not in ELSEWHERE}
    if config_text is not None:
        spec["config"] = {"inline": yaml.safe_load(config_text)}
    return spec


def revision_name(spec: Mapping[str, Any]) -> str:
    """Return the name of a revision: digits of the digest of the part of the spec that pods are made of."""
    return digest_of_json(dict(spec)).partition(":")[2][:DIGITS]


def new_revision(pipeline: HPIPipeline, config_text: str | None, number: int, now: datetime) -> Revision:
    """Return the revision that a pipeline's spec asks for."""
    spec = pod_spec(pipeline, config_text)
    return Revision(revision_name(spec), number, now, _restored(pipeline, spec))


def wanted_revision(
    pipeline: HPIPipeline, config_text: str | None, stored: Sequence[Revision], now: datetime
) -> Revision:
    """Return the revision that a pipeline's spec asks for: the stored one of that name, else a new one."""
    name = revision_name(pod_spec(pipeline, config_text))
    number = 1 + max((one.number for one in stored), default=0)
    known = next((one for one in stored if one.name == name), None)
    return known or new_revision(pipeline, config_text, number, now)


def stored_revisions(pipeline: HPIPipeline, children: Mapping[ObjectKey, Manifest]) -> tuple[Revision, ...]:
    """Return the revisions that ConfigMaps hold, the newest first.

    One that this release cannot read any more (a field was taken away) is left out: it cannot be gone back to.
    """
    found = []
    for key, manifest in children.items():
        metadata = manifest["metadata"]
        name = (metadata.get("labels") or {}).get(REVISION)
        if key.kind != "ConfigMap" or name is None:
            continue
        try:
            record = json.loads(manifest["data"][RECORD])
            found.append(
                Revision(
                    name,
                    int(record["number"]),
                    datetime.fromisoformat(record["createdAt"]),
                    _restored(pipeline, record["spec"]),
                    (metadata.get("annotations") or {}).get(FAILED),
                )
            )
        except (KeyError, ValueError, TypeError, ValidationError):
            continue
    return tuple(sorted(found, key=lambda one: (-one.number, one.name)))


def config_map(revision: Revision, base: Manifest) -> Manifest:
    """Return the ConfigMap of a revision.

    Args:
        revision: The revision.
        base: Metadata of every child: namespace, owner, labels.
    """
    spec = written_spec(revision.pipeline)
    record = {
        "number": revision.number,
        "createdAt": revision.created_at.isoformat(),
        "spec": {key: value for key, value in spec.items() if key not in ELSEWHERE},
    }
    agents = {
        "apiVersion": API_VERSION,
        "kind": "HPIPipeline",
        "metadata": {"name": revision.pipeline.metadata.name},
        "spec": {key: spec[key] for key in AGENTS if key in spec},
    }
    metadata = {**base, "name": revision.config_map, "labels": {**base["labels"], REVISION: revision.name}}
    if revision.failed is not None:
        metadata["annotations"] = {FAILED: revision.failed}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": True,
        "data": {
            MANIFEST: yaml.safe_dump(agents, allow_unicode=True, width=120),
            RECORD: json.dumps(record, sort_keys=True, ensure_ascii=False),
        },
    }


def with_present(revision: Revision, present: HPIPipeline) -> HPIPipeline:
    """Return the pipeline of a revision with everything that changes no pod as it is now."""
    spec = written_spec(revision.pipeline)
    now = written_spec(present)
    spec = {key: value for key, value in spec.items() if key not in ELSEWHERE}
    spec |= {key: now[key] for key in ELSEWHERE if key in now}
    return _restored(present, spec)


def _restored(pipeline: HPIPipeline, spec: Mapping[str, Any]) -> HPIPipeline:
    return HPIPipeline.model_validate(
        {
            "apiVersion": pipeline.api_version,
            "kind": pipeline.kind,
            "metadata": {
                "name": pipeline.metadata.name,
                **({"namespace": pipeline.metadata.namespace} if pipeline.metadata.namespace else {}),
            },
            "spec": dict(spec),
        }
    )
