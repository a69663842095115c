"""What shapes a conversion is in its key; what is wrong with one is told with figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hpi_agent.convert.conversion import (
    conversion_document,
    convert,
    largest_difference,
    read_json,
    refuse_wrong,
)
from hpi_agent.convert.difference import TOLERANCE
from hpi_agent.convert.program import reason_of
from hpi_agent.convert.steps import Check, converter_error
from hpi_agent.models.paddle_files import PaddleModel
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_json
from hpi_core.errors import Bug, EngineFailed, Refused, Stop

VERSIONS = {"paddlepaddle": "3.2.2", "paddle2onnx": "2.1.0", "onnx": "1.17.0", "onnxruntime": "1.31.1", "numpy": "2"}
ENVIRONMENT = PluginEnvironment("paddle2onnx", Path("/nowhere/bin/python"), "sha256:" + "1" * 64, VERSIONS)
MODEL = PaddleModel(
    Path("/m"), Path("/m/inference.json"), Path("/m/inference.pdiparams"), "pir", 3, "sha256:" + "2" * 64
)
SHAPES = {"x": (1, 3)}


def key(model: PaddleModel = MODEL, environment: PluginEnvironment = ENVIRONMENT) -> str:
    return digest_of_json(conversion_document(model, environment))


def with_version(**versions: str) -> PluginEnvironment:
    return dataclasses.replace(ENVIRONMENT, versions={**VERSIONS, **versions})


@pytest.mark.parametrize(
    ("model", "environment"),
    [
        (dataclasses.replace(MODEL, digest="sha256:" + "3" * 64), ENVIRONMENT),
        (MODEL, with_version(paddlepaddle="3.3.1")),
        (MODEL, with_version(paddle2onnx="2.1.1")),
        (MODEL, with_version(onnx="1.18.0")),
        (MODEL, dataclasses.replace(ENVIRONMENT, lock_digest="sha256:" + "4" * 64)),
    ],
    ids=["model", "paddle", "converter", "onnx", "lock"],
)
def test_whatever_shapes_a_conversion_changes_its_key(model: PaddleModel, environment: PluginEnvironment) -> None:
    assert key(model, environment) != key()


def test_where_the_model_and_the_environment_lie_does_not_change_the_key() -> None:
    moved = dataclasses.replace(MODEL, directory=Path("/n"), program=Path("/n/inference.json"))

    assert key(moved, dataclasses.replace(ENVIRONMENT, python=Path("/elsewhere/bin/python"))) == key()


def test_an_environment_without_the_converter_is_told_with_what_to_do(tmp_path: Path) -> None:
    bare = dataclasses.replace(ENVIRONMENT, versions={"paddlepaddle": "3.2.2", "onnx": "1.17.0", "onnxruntime": "1"})

    with pytest.raises(Stop, match=r"lacks \['paddle2onnx'\]; make it anew: hpi-agent install paddle2onnx"):
        convert(MODEL, Store(tmp_path), bare, shapes=[SHAPES])


def test_a_conversion_that_nothing_checks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="checked on at least one set of input shapes"):
        convert(MODEL, Store(tmp_path), ENVIRONMENT, shapes=[])


@pytest.mark.parametrize("value", [0.0, TOLERANCE])
def test_a_difference_up_to_the_tolerance_is_accepted(value: float) -> None:
    refuse_wrong(MODEL, [Check(SHAPES, {"y": value})], None)


@pytest.mark.parametrize(
    ("value", "said"), [(TOLERANCE * 1.01, "y 0.0001"), (0.25, "y 0.25"), ("it holds NaN", "y: it holds NaN")]
)
def test_a_wrong_result_is_refused_with_its_figures_and_shapes(value: float | str, said: str) -> None:
    checks = [Check(SHAPES, {"y": 0.0}), Check({"x": (2, 3)}, {"y": value})]

    with pytest.raises(EngineFailed, match="on 1 of 2 sets of shapes") as refusal:
        refuse_wrong(MODEL, checks, None)

    assert f"at x 2x3: {said}" in str(refusal.value)


def test_a_result_that_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(EngineFailed, match="cannot be run: no kernel"):
        refuse_wrong(MODEL, [], "no kernel")


@pytest.mark.parametrize(
    ("differences", "largest"),
    [([{"y": 1e-6, "z": 3e-6}, {"y": 2e-6}], 3e-6), ([{"y": 1e-6}, {"y": "NaN"}], None), ([], None)],
)
def test_the_largest_difference_is_known_only_when_everything_was_compared(
    differences: list[dict[str, float | str]], largest: float | None
) -> None:
    assert largest_difference([Check(SHAPES, one) for one in differences]) == largest


def test_a_check_survives_the_way_through_json() -> None:
    check = Check({"x": (1, 3), "s": (1, 2)}, {"y": 1e-7, "z": "it holds NaN"})

    assert Check.from_json(check.to_json()) == check


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_report_that_we_did_not_write_is_a_bug(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(content)

    with pytest.raises(Bug, match=r"report\.json must be a JSON object"):
        read_json(tmp_path / "report.json")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", ""),
        ("plain words\n", "plain words"),
        (
            "\x1b[0;31m2026 [ERROR]\tFailed to convert PaddlePaddle model: no such operator.\x1b[0m\n",
            "no such operator.",
        ),
        (
            "[ERROR] Failed to convert PaddlePaddle model: \nC++ Traceback:\n0 paddle::f\n"
            "InvalidArgumentError: the rank is wrong (at /paddle/a.cc:1)\n.",
            "InvalidArgumentError: the rank is wrong (at /paddle/a.cc:1)",
        ),
        ("Failed to convert PaddlePaddle model: " + "x" * 600, "x" * 499 + "…"),
    ],
    ids=["nothing", "no marker", "one line", "a trace", "too long"],
)
def test_the_line_that_says_what_failed_is_found_in_what_the_converter_prints(said: str, reason: str) -> None:
    assert reason_of(said) == reason


def test_the_converters_last_words_are_its_last_error() -> None:
    output = "[Paddle2ONNX] \n[ERROR][Paddle2ONNX] first\nx [ERROR][Paddle2ONNX] unsupported operators.\nSIGABRT\n"

    assert converter_error(output) == "unsupported operators."
    assert converter_error("SIGABRT") is None
