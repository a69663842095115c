"""An ONNX file beside Paddle weights is trusted only when it answers as they do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hpi_agent.convert.comparison import Comparison, compare, find_comparison
from hpi_agent.convert.conversion import convert
from hpi_agent.convert.difference import TOLERANCE
from hpi_agent.models.paddle_files import PaddleModel, find_paddle_model
from hpi_agent.store.directory import Store
from hpi_core.errors import Refused, SourceFailed
from support.conversions import SMALL, converter_environment, found_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def pair(store: Store, tmp_path: Path) -> PaddleModel:
    """A model directory with Paddle files and the ONNX file that they were converted to."""
    model = found_model("tiny", tmp_path / "model")
    onnx = convert(model, store, converter_environment(), shapes=SMALL["tiny"]).onnx
    shutil.copyfile(onnx, model.directory / "inference.onnx")
    return model


def verdict(model: PaddleModel, store: Store, said: list[str] | None = None) -> Comparison:
    return compare(
        model,
        model.directory / "inference.onnx",
        store,
        converter_environment(),
        shapes=SMALL["tiny"],
        say=(said if said is not None else []).append,
    )


def with_newer_weights(model: PaddleModel) -> PaddleModel:
    """Replace the weights by others of the same shapes, as a delivery of a newer training does."""
    data = bytearray(model.weights.read_bytes())
    values = np.frombuffer(data[-256:], dtype=np.float32) * np.float32(1.05)
    data[-256:] = values.tobytes()
    model.weights.write_bytes(data)
    newer = find_paddle_model(model.directory)
    assert newer is not None
    return newer


def test_an_onnx_file_of_the_same_weights_is_trusted(pair: PaddleModel, store: Store) -> None:
    found = verdict(pair, store)

    assert found.trusted
    assert found.largest_difference is not None
    assert found.largest_difference <= TOLERANCE
    assert "answers as the model in Paddle's format beside it" in found.reason


def test_a_stale_onnx_file_beside_newer_weights_is_not_trusted_and_the_difference_is_told(
    pair: PaddleModel, store: Store
) -> None:
    found = verdict(with_newer_weights(pair), store)

    assert not found.trusted
    assert found.largest_difference is not None
    assert found.largest_difference > TOLERANCE
    assert f"fetch_name_0 {found.checks[0].differences['fetch_name_0']:.2g}" in found.reason
    assert "deliver the two together" in found.reason


def test_a_verdict_is_remembered(pair: PaddleModel, store: Store) -> None:
    onnx = pair.directory / "inference.onnx"
    before = find_comparison(pair, onnx, Store(pair.directory), converter_environment(), shapes=SMALL["tiny"])
    first, said = verdict(pair, store), list[str]()

    second = verdict(pair, store, said)
    found = find_comparison(pair, onnx, store, converter_environment(), shapes=SMALL["tiny"])

    assert (before, said) == (None, [])
    assert first == second == found


def test_an_onnx_file_with_other_inputs_cannot_be_compared(pair: PaddleModel, store: Store) -> None:
    other = convert(found_model("several"), store, converter_environment(), shapes=SMALL["several"])
    shutil.copyfile(other.onnx, pair.directory / "inference.onnx")

    found = verdict(pair, store)

    assert (found.trusted, found.largest_difference) == (False, None)
    assert "has the inputs ['im_shape', 'image', 'scale_factor'], Paddle has ['x']" in found.reason


def test_what_is_no_onnx_file_is_not_trusted(pair: PaddleModel, store: Store) -> None:
    (pair.directory / "inference.onnx").write_bytes(b"cut short")

    found = verdict(pair, store)

    assert (found.trusted, found.checks) == (False, ())
    assert "is cut short or not an ONNX model" in found.reason


def test_a_comparison_without_shapes_is_refused(pair: PaddleModel, store: Store) -> None:
    with pytest.raises(Refused, match="at least one set of input shapes"):
        compare(pair, pair.directory / "inference.onnx", store, converter_environment(), shapes=[])


def test_an_onnx_file_that_is_not_there_is_named(pair: PaddleModel, store: Store) -> None:
    (pair.directory / "inference.onnx").unlink()

    with pytest.raises(SourceFailed, match=r"inference\.onnx cannot be read: No such file or directory"):
        verdict(pair, store)
