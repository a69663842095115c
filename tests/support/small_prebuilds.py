"""A small cluster with a pipeline whose engines are built ahead."""

from __future__ import annotations

from typing import Any

from hpi_operator.plan.intent import Manifest
from support.manifests import Document
from support.nodes import PlayedNode, a_node
from support.observed import a_digest, a_pipeline
from support.small_cluster import SmallCluster

PREBUILD = {"policy": "Prebuild"}
DET = "SubModules.TextDetection"
REC = "SubModules.TextRecognition"


def a_model(path: str, name: str, digest: str | None = None, **fields: Any) -> Document:
    """Return an entry of `spec.modules`."""
    return {
        "path": path,
        "model": {"name": name, "source": f"https://models.example/{name}.onnx", **fields}
        | ({} if digest is None else {"digest": digest}),
    }


INLINE = {
    "pipeline_name": "OCR",
    "SubModules": {
        "TextDetection": {"module_name": "text_detection", "model_name": "det"},
        "TextRecognition": {"module_name": "text_recognition", "model_name": "rec"},
    },
}
KNOWN = [a_model(DET, "det", a_digest("1")), a_model(REC, "rec", a_digest("2"))]


def a_cluster(*nodes: PlayedNode, **spec: Any) -> SmallCluster:
    """Return a cluster with a pipeline whose engines are built ahead; nothing has begun."""
    fields = {"pipeline": ..., "config": {"inline": INLINE}, "modules": KNOWN, "replicas": 2, "build": PREBUILD}
    return SmallCluster(a_pipeline(**{**fields, **spec}), nodes or [a_node("n")])


def jobs(cluster: SmallCluster) -> list[Manifest]:
    """Return the live Jobs."""
    return [cluster.named("Job", name) for name in cluster.names("Job")]
