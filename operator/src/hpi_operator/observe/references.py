"""The objects that a pipeline's spec names and that others make: ConfigMaps, Secrets, claims; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from hpi_core.api.v1alpha1.model_source import ModelSource
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_operator.plan.intent import ObjectKey


@dataclass(frozen=True)
class Reference:
    """One object that must be there."""

    key: ObjectKey
    field: str | None = None
    """Key of a ConfigMap whose text is read; of a Secret nothing is read."""


def references_of(pipeline: HPIPipeline, namespace: str) -> tuple[Reference, ...]:
    """Return what a pipeline's spec names, each object once."""
    found = {one.key: one for one in _references(pipeline, namespace)}
    return tuple(found[key] for key in sorted(found))


def _references(pipeline: HPIPipeline, namespace: str) -> Iterator[Reference]:
    spec = pipeline.spec
    if spec.config is not None and spec.config.config_map_key_ref is not None:
        key = spec.config.config_map_key_ref
        yield Reference(ObjectKey("v1", "ConfigMap", namespace, key.name), key.key)
    for model in _models(pipeline):
        if model.credentials_secret_ref is not None:
            yield _secret(namespace, model.credentials_secret_ref.name)
        if model.source is not None and model.source.startswith("pvc://"):
            yield Reference(ObjectKey("v1", "PersistentVolumeClaim", namespace, urlsplit(model.source).netloc))
    if spec.serving.tls is not None:
        yield _secret(namespace, spec.serving.tls.secret_ref.name)
        if spec.serving.tls.client_ca_secret_ref is not None:
            yield _secret(namespace, spec.serving.tls.client_ca_secret_ref.name)
    if spec.serving.auth.tokens_secret_ref is not None:
        yield _secret(namespace, spec.serving.auth.tokens_secret_ref.name)
    if spec.cache.claim_name is not None:
        yield Reference(ObjectKey("v1", "PersistentVolumeClaim", namespace, spec.cache.claim_name))
    if spec.license is not None:
        yield _secret(namespace, spec.license.serial_numbers_secret_ref.name)


def _models(pipeline: HPIPipeline) -> Iterator[ModelSource]:
    if pipeline.spec.module is not None:
        yield pipeline.spec.module.model
    for module in pipeline.spec.modules:
        if module.model is not None:
            yield module.model


def _secret(namespace: str, name: str) -> Reference:
    return Reference(ObjectKey("v1", "Secret", namespace, name))
