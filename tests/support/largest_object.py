"""The largest object of a kind: every list and every mapping full, every number long, texts as long as real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hpi_core.api.base import DNS_LABEL, DNS_SUBDOMAIN
from hpi_core.api.v1alpha1 import condition, model_source, pipeline_status, pod_template, references, scalars
from hpi_core.digest import PATTERN as DIGEST_PATTERN
from support.kinds import BY_NAME, SAMPLES, manifest, read, schema_of
from support.schemas import Schema

Text = Callable[[int], str]
"""Returns the text of a number; two numbers below a thousand have two texts."""

REAL_TEXTS: Final[dict[str, Text]] = {
    DNS_LABEL: lambda n: f"invoices-of-the-accounts-{n:03}",
    DNS_SUBDOMAIN: lambda n: f"ip-10-11-12-{n:03}.eu-central.compute.example",
    DIGEST_PATTERN.pattern: lambda n: f"sha256:{n:064x}",
    scalars.MODEL_NAME: lambda n: f"PP-OCRv6_server_rec_{n:03}",
    scalars.MODULE_NAME: lambda n: f"text_line_orientation_{n:03}",
    scalars.MODULE_PATH: lambda n: f"SubPipelines.DocPreprocessor.SubModules.DocOrientation{n:03}",
    scalars.DEVICE: lambda n: f"gpu:{n}",
    scalars.RESOURCE_NAME: lambda n: f"nvidia.com/mig-{n}g.10gb",
    scalars.LABEL_KEY: lambda n: f"accounts.example.com/label-{n:03}",
    scalars.LABEL_VALUE: lambda n: f"value-of-the-label-{n:03}",
    scalars.VERSION: lambda n: f"550.54.{n}",
    scalars.VERSION_CONSTRAINT: lambda n: f">=1.{n},<2",
    scalars.COMPUTE_CAPABILITY: lambda n: f"{n // 10}.{n % 10}",
    scalars.CHIP: lambda n: f"Ascend310P{n}",
    scalars.VARIANT: lambda n: f"onnxruntime-{n:03}",
    scalars.IMAGE_BY_DIGEST: lambda n: f"registry.example/inference/hpi-gpu-cu126@sha256:{n:064x}",
    scalars.PACKAGE_NAME: lambda n: f"nvidia-cuda-runtime-cu12-{n:03}",
    scalars.PYTHON_VERSION: lambda n: "3.11",
    scalars.HOST_NAME: lambda n: f"*.images-{n:03}.example.com",
    scalars.HTTP_URL: lambda n: "https://minio.storage.example:9000",
    scalars.ABSOLUTE_PATH: lambda n: "/var/lib/hpi/licenses",
    scalars.URL_PATH: lambda n: "/invoices/v1",
    scalars.QUANTITY: lambda n: f"{n}00Mi",
    scalars.HEADER_NAME: lambda n: "X-Accounts-Tenant",
    scalars.UID: lambda n: f"7f8a1c22-3b1d-4a52-8e11-{n:012x}",
    scalars.REVISION: lambda n: f"6b9f7d{n:03}",
    scalars.CRON: lambda n: "30 2 * * 1-5",
    scalars.TIME_ZONE: lambda n: "America/Argentina/Buenos_Aires",
    condition.CONDITION_TYPE: lambda n: f"EnginesReady{'abcdefghijklmnopqrstuvwxyz'[n]}",
    condition.CONDITION_STATUS: lambda n: "Unknown",
    condition.CONDITION_REASON: lambda n: "RolloutProgressing",
    model_source.SOURCE: lambda n: f"s3://models/PP-OCRv6_server_rec_{n:03}",
    pipeline_status.PATH_OR_MODULE: lambda n: f"SubPipelines.DocPreprocessor.SubModules.DocOrientation{n:03}",
    pod_template.CONTAINER_RESOURCE: lambda n: f"example.com/device-{n:03}",
    references.CONFIG_MAP_KEY: lambda n: "pipeline.yaml",
}
"""Text of real length for each pattern."""

REAL_FORMATS: Final = {"date-time": "2026-03-01T10:00:00Z", "date": "2026-03-01"}

REAL_LENGTHS: Final = {64: 12, 128: 32, 1_024: 80}
"""Length of a text without a pattern by the longest that is allowed: a word, a name, a sentence. Unit: characters."""

Exceptions = dict[str, Any]
"""Value by path, such as `spec.modules[].model`, in place of the largest one; `...` leaves it out."""

SETTINGS: Final = {
    "cpu_num_threads": 8,
    "precision": "fp16",
    "dynamic_shapes": {"x": [[1, 3, 32, 32], [1, 3, 736, 736]]},
}

EXCEPTIONS: Final[dict[str, Exceptions]] = {
    "HPIPipeline": {
        # What excludes the rest, and what is not ours: the length of a whole YAML is PaddleX's, here the sample's.
        "spec.pipeline": ...,
        "spec.module": ...,
        "spec.config": {"inline": read(SAMPLES[0])["spec"]["config"]["inline"]},
        "spec.modules[].inference.hpiConfig.backendConfig": SETTINGS,
        "spec.modules[].inference.engineConfig": ...,
        "spec.inference.hpiConfig.backendConfig": SETTINGS,
        "spec.inference.engineConfig": ...,
        "spec.placement.accelerators[].class": "NVIDIA",
        "spec.placement.accelerators[].requirements.chips": ...,
        "spec.runtime.name": ...,
        "spec.replicas": ...,
        "spec.cache.claimName": ...,
        "spec.rollout.strategy": "Canary",
        "spec.rollout.steps": [{"weightPercent": share, "soakSeconds": 604_800} for share in range(85, 101)],
        "spec.serving.auth": {"type": "BearerToken", "tokensSecretRef": {"name": "tokens-of-the-callers"}},
        "spec.podTemplate.tolerations[].operator": "Equal",
    },
    "HPIEngine": {
        "spec.request": {"auto_config": True, "backend": "tensorrt", "backend_config": SETTINGS},
        "spec.hardwareClass.device": "gpu",
    },
    "HPIRuntime": {"spec.accelerator": "NVIDIA", "spec.cann": ..., "spec.chips": ...},
    "HPINodePool": {
        "spec.nodeSelector.matchExpressions[].operator": "NotIn",
        "spec.cache.highWatermarkPercent": 100,
        "spec.cache.lowWatermarkPercent": 99,
    },
    "HPINode": {
        "status.workloads[].engines": [f"e-{digit * 40}" for digit in "0f"],
        "status.workloads[].models": [
            {
                "name": "PP-OCRv6_small_rec_of_our_own",
                "backend": "onnxruntime",
                "precision": "float32",
                "state": "Provisional",
                "p50Microseconds": 3_600_000_000,
                "p99Microseconds": 3_600_000_000,
                "pods": 1_000_000,
            }
        ],
    },
}
"""What cannot stand together, by kind."""


def largest_manifest(kind: str) -> dict[str, Any]:
    """Return the largest object of a kind, status included."""
    schema = schema_of(BY_NAME[kind])
    document = manifest(kind)
    return {
        **document,
        "metadata": {**document["metadata"], "labels": {f"example.com/label-{n}": "value" for n in range(4)}},
        **{part: largest(schema["properties"][part], EXCEPTIONS[kind], part) for part in ("spec", "status")},
    }


def largest(schema: Schema, exceptions: Exceptions, path: str = "", number: int = 0) -> Any:
    """Return the largest value that a schema allows, but for what cannot stand together.

    Args:
        schema: What the value must be.
        exceptions: What is fixed, because rules let not every field stand beside every other.
        path: Where the value stands, as `support.schemas.walk` says it.
        number: Which element of the list around it this is, from 0.
    """
    if "properties" in schema:
        inner = {name: (f"{path}.{name}".lstrip("."), part) for name, part in schema["properties"].items()}
        return {
            name: exceptions[where] if where in exceptions else largest(part, exceptions, where, number)
            for name, (where, part) in inner.items()
            if exceptions.get(where) is not ...
        }
    if "items" in schema:
        return [largest(schema["items"], exceptions, f"{path}[]", each) for each in range(schema["maxItems"])]
    if "additionalProperties" in schema:
        key = key_text(schema)
        values = range(schema["maxProperties"])
        return {key(each): largest(schema["additionalProperties"], exceptions, f"{path}.*", each) for each in values}
    return _largest_scalar(schema, path, number)


def key_text(schema: Schema) -> Text:
    """Return what makes the keys of a mapping, by the rule that bounds them."""
    [rule, *_] = schema["x-kubernetes-validations"]
    return next(text for pattern, text in REAL_TEXTS.items() if f"r'{pattern}'" in rule["rule"])


def _largest_scalar(schema: Schema, path: str, number: int) -> Any:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        raise AssertionError(f"{path}: what is not ours has no largest value; make it an exception")
    if schema.get("x-kubernetes-int-or-string"):
        return "100%"
    if "enum" in schema:
        by_length = sorted(schema["enum"], key=len, reverse=True)
        return by_length[number % len(by_length)]
    if schema["type"] == "boolean":
        return False
    if schema["type"] == "integer":
        return schema["maximum"]
    if "format" in schema:
        return REAL_FORMATS[schema["format"]]
    if "pattern" in schema:
        return REAL_TEXTS[schema["pattern"]](number)
    length = next(real for most, real in REAL_LENGTHS.items() if schema["maxLength"] <= most)
    return f"{number:03} ".ljust(min(schema["maxLength"], length), "x")
