"""Whether a pipeline's spec can be tried: what it asks that cannot be done, and what it refers to that is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.document import read_mapping
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.errors import InvalidManifest
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.intent import ObjectKey
from hpi_operator.plan.observed import ObservedPipeline

MAX_CONFIG_BYTES: Final = 400_000
"""Largest YAML of a ConfigMap that a revision can keep: it keeps it twice, and a ConfigMap takes 1 MiB."""


@dataclass(frozen=True)
class Blocked:
    """What keeps everything from being made; what is there goes on serving."""

    reason: str
    message: str


def read_config(observed: ObservedPipeline) -> Mapping[str, Any] | Blocked | None:
    """Return the YAML of the ConfigMap that the spec names; None: it names none."""
    config = observed.pipeline.spec.config
    if config is None or config.config_map_key_ref is None:
        return None
    wanted = config.config_map_key_ref
    where = f"ConfigMap {wanted.name}, key {wanted.key}"
    text = next((text for key, text in observed.references.items() if _is(key, wanted.name)), None)
    if text is None:
        return Blocked("ReferenceMissing", f"{where} is not there")
    size = len(text.encode())
    if size > MAX_CONFIG_BYTES:
        return Blocked("InvalidSpec", f"{where} has {size} bytes, allowed are {MAX_CONFIG_BYTES}")
    try:
        return read_mapping(text, where)
    except InvalidManifest as error:
        return Blocked("InvalidSpec", f"{where}: {'; '.join(error.problems)}")


def blocked(observed: ObservedPipeline, classes: Mapping[ClassName, ClassData]) -> Blocked | None:
    """Return what keeps everything from being made, None where nothing does."""
    if observed.namespace_terminating:
        return Blocked("NamespaceTerminating", "the namespace is being deleted")
    if observed.problems:
        return Blocked("InvalidSpec", "; ".join(observed.problems))
    unsupported = tuple(_unsupported(observed.pipeline))
    if unsupported:
        return Blocked("NotSupported", "; ".join(unsupported))
    contradiction = next(_contradictions(observed.pipeline, classes), None)
    if contradiction is not None:
        return Blocked("InvalidSpec", contradiction)
    missing = sorted(str(key) for key, text in observed.references.items() if text is None)
    if missing:
        return Blocked("ReferenceMissing", f"not there: {', '.join(missing)}; created, they are used at once")
    return None


def _unsupported(pipeline: HPIPipeline) -> Iterator[str]:
    if pipeline.spec.license is not None:
        yield (
            "spec.license is for the plugin that PaddleX 3.0-beta had, which no HPIRuntime of this release carries; "
            "every later plugin needs no licence: take the field out"
        )


def _contradictions(pipeline: HPIPipeline, classes: Mapping[ClassName, ClassData]) -> Iterator[str]:
    """Yield where the spec asks for a device that pods of its placement are not given."""
    asked = pipeline.spec.inference.device
    for index, one in enumerate(pipeline.spec.placement.accelerators):
        given = classes[one.class_].device
        if asked is not None and asked.partition(":")[0] != given.partition(":")[0]:
            yield (
                f"spec.inference.device is {asked}, and pods of spec.placement.accelerators[{index}], class "
                f"{one.class_}, are given {given}: take the device out, or name only classes that have it"
            )


def _is(key: ObjectKey, name: str) -> bool:
    return key.kind == "ConfigMap" and key.name == name
