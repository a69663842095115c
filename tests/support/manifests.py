"""Manifests of HPIPipelines for tests, as the JSON documents that a user would write."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.errors import InvalidManifest

Document = dict[str, Any]

DETECTION = "SubModules.TextDetection"
RECOGNITION = "SubModules.TextRecognition"


def an_ocr_config(**changes: Any) -> Document:
    """Return PaddleX's YAML of text detection and recognition alone, with top-level keys changed.

    The value `...` takes a key out.
    """
    config = {
        "pipeline_name": "OCR",
        "text_type": "general",
        "use_doc_preprocessor": False,
        "use_textline_orientation": False,
        "SubModules": {
            "TextDetection": {"module_name": "text_detection", "model_name": "det"},
            "TextRecognition": {"module_name": "text_recognition", "model_name": "rec"},
        },
    }
    return _with(config, changes)


def a_module(path: str, name: str, **changes: Any) -> Document:
    """Return an entry of `spec.modules` whose model comes from an installed package."""
    return _with({"path": path, "model": {"name": name, "source": f"package://models_of_tests/{name}.onnx"}}, changes)


def an_ocr_pipeline(**changes: Any) -> Document:
    """Return a manifest that one machine can serve, with fields of its spec changed.

    The value `...` takes a field out.
    """
    spec = {
        "config": {"inline": an_ocr_config()},
        "modules": [a_module(DETECTION, "det"), a_module(RECOGNITION, "rec")],
    }
    return {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPIPipeline",
        "metadata": {"name": "ocr"},
        "spec": _with(spec, changes),
    }


def a_single_module(**changes: Any) -> Document:
    """Return a manifest of one model alone, with fields of the model changed."""
    model = _with({"name": "det", "source": "package://models_of_tests/det.onnx"}, changes)
    return an_ocr_pipeline(config=..., modules=..., module={"name": "text_detection", "model": model})


def with_value(document: Document, path: str, value: Any) -> Document:
    """Return a copy of a document with one value set at a path such as `spec.modules[0].path`.

    Mappings on the way are made where they are missing.
    """
    changed = copy.deepcopy(document)
    *parents, last = path.replace("[", ".[").split(".")
    here: Any = changed
    for part in parents:
        here = here[int(part[1:-1])] if part.startswith("[") else here.setdefault(part, {})
    here[int(last[1:-1]) if last.startswith("[") else last] = value
    return changed


def without_value(document: Document, path: str) -> Document:
    """Return a copy of a document without the value at a path such as `spec.pipeline`."""
    changed = copy.deepcopy(document)
    *parents, last = path.split(".")
    here: Any = changed
    for part in parents:
        here = here[part]
    del here[last]
    return changed


def checked(document: Document) -> HPIPipeline:
    """Return the manifest as the program reads it."""
    return read_pipeline(json.dumps(document), "test.yaml")


def problems_of(manifest: Document | str) -> list[str]:
    """Return every problem for which a document, or a text, is refused; the test fails when it is accepted."""
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    with pytest.raises(InvalidManifest) as refusal:
        read_pipeline(text, "test.yaml")
    return refusal.value.problems


def _with(document: Document, changes: Document) -> Document:
    return {key: value for key, value in {**document, **changes}.items() if value is not ...}
