"""Where the official models are, compared with what PaddleX itself says."""

from __future__ import annotations

import pytest

from hpi_agent.models.official import Hub, official_source, read_official_models
from hpi_agent.models.sources.hub import read_hub_address
from hpi_core.formats import ModelFormat

MODELS = read_official_models()


@pytest.mark.parametrize(
    ("name", "model_format", "hub", "source"),
    [
        ("PP-OCRv5_server_det", "paddle", "hf", "hf://PaddlePaddle/PP-OCRv5_server_det"),
        ("PP-OCRv5_server_det", "onnx", "hf", "hf://PaddlePaddle/PP-OCRv5_server_det_onnx"),
        ("PP-OCRv5_server_det", "onnx", "modelscope", "modelscope://PaddlePaddle/PP-OCRv5_server_det_onnx"),
        ("PP-OCRv5_server_det", "om", "hf", None),
        ("PP-OCRv4_server_det", "onnx", "hf", None),
        ("ResNet50", "onnx", "hf", None),
        (
            "ResNet50",
            "paddle",
            "hf",
            "https://paddle-model-ecology.bj.bcebos.com/paddlex/official_inference_model/paddle3.0.0/ResNet50_infer.tar",
        ),
        ("PP-DocBee-2B", "paddle", "hf", None),
        ("MyOwnModel", "paddle", "hf", None),
    ],
)
def test_an_official_model_has_one_source_in_each_format(
    name: str,
    model_format: ModelFormat,
    hub: Hub,
    source: str | None,
) -> None:
    assert official_source(name, model_format, MODELS, hub) == source


def test_every_repository_on_a_hub_is_an_address_that_is_read() -> None:
    for name in MODELS.hub | MODELS.onnx:
        for source in (official_source(name, "paddle", MODELS), official_source(name, "onnx", MODELS)):
            assert source is None or read_hub_address(source).owner == "PaddlePaddle"


def test_no_model_has_two_places() -> None:
    assert not MODELS.hub & MODELS.archives
    assert not (MODELS.hub | MODELS.archives) & MODELS.other_formats
    assert MODELS.onnx <= MODELS.hub


@pytest.mark.slow
def test_the_table_says_what_paddlex_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
    from paddlex.inference.utils import official_models as theirs

    dynamic = set(theirs.PADDLE_DYN_SUPPORTED_MODELS)
    assert dynamic <= MODELS.other_formats
    assert set(theirs.ALL_MODELS) == MODELS.hub | MODELS.archives | MODELS.other_formats
    assert set(theirs.OCR_MODELS) - MODELS.other_formats == MODELS.hub
    assert set(theirs.ONNX_SUPPORTED_MODELS) == MODELS.onnx
    hoster = theirs._BosModelHoster
    assert MODELS.archive == f"{hoster.base_url}/{hoster.version}/NAME_infer.tar"
    assert not set(hoster.special_model_fn) & (MODELS.hub | MODELS.archives)
