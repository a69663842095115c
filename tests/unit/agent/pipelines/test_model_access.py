"""How a manifest says where a model is asked for, and with whose credentials."""

from __future__ import annotations

from typing import Any

import yaml

from hpi_agent.pipelines.effective import ModelUse, effective
from hpi_core.api.manifest import read_pipeline

MODEL: dict[str, Any] = {"name": "PP-OCRv6_small_det", "source": "s3://models/det"}
ACCESS = {"endpoint": "https://minio.example:9000", "credentialsSecretRef": {"name": "store"}}

OCR = {
    "pipeline_name": "OCR",
    "text_type": "general",
    "use_doc_preprocessor": False,
    "use_textline_orientation": False,
    "SubModules": {
        "TextDetection": {"module_name": "text_detection", "model_name": "PP-OCRv6_small_det"},
        "TextRecognition": {
            "module_name": "text_recognition",
            "model_name": "PP-OCRv6_small_rec",
            "model_dir": "/models/rec",
        },
    },
}


def uses(spec: dict[str, Any]) -> tuple[ModelUse, ...]:
    document = {"apiVersion": "hpi.paddlex.io/v1alpha1", "kind": "HPIPipeline", "metadata": {"name": "x"}, "spec": spec}
    return effective(read_pipeline(yaml.safe_dump(document), "x.yaml"), lambda name: None).models


def test_a_single_module_names_its_service_and_its_secret() -> None:
    [use] = uses({"module": {"name": "text_detection", "model": {**MODEL, **ACCESS}}})

    assert (use.endpoint, use.credentials) == ("https://minio.example:9000", "store")


def test_a_model_of_a_pipeline_names_its_service_and_its_secret_and_the_others_none() -> None:
    module = {"path": "SubModules.TextDetection", "model": {**MODEL, **ACCESS}}

    detection, recognition = uses({"config": {"inline": OCR}, "modules": [module]})

    assert (detection.endpoint, detection.credentials) == ("https://minio.example:9000", "store")
    assert (recognition.endpoint, recognition.credentials) == (None, None)


def test_a_model_that_names_neither_has_neither() -> None:
    [use] = uses({"module": {"name": "text_detection", "model": MODEL}})

    assert (use.endpoint, use.credentials) == (None, None)
