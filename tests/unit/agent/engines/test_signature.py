"""Whether a runtime loaded what the model file declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.engines.base import EngineRequest, TensorSpec
from hpi_agent.engines.onnx_file import Declared
from hpi_agent.engines.signature import LoadedTensor, Signature, check_signature
from hpi_core.errors import EngineFailed

IMAGE = TensorSpec("image", "float32", (None, 3, None, 32))
SCALE = TensorSpec("scale", "int64", (2,))
ANSWER = TensorSpec("answer", "float32", (None, 10))

DECLARED = Declared((IMAGE, SCALE), (ANSWER,), {})
REQUEST = EngineRequest(Path("m.onnx"), "openvino", 1)


def loaded(spec: TensorSpec, *shape: int | None, dtype: str | None = None, names: tuple[str, ...] = ()) -> LoadedTensor:
    return LoadedTensor(frozenset((*names, spec.name)), dtype or spec.dtype, shape or spec.shape)


def check(inputs: list[LoadedTensor], outputs: list[LoadedTensor], *, every_input: bool = True) -> None:
    check_signature(REQUEST, DECLARED, Signature(inputs, outputs), every_input=every_input)


SAME_INPUTS, SAME_OUTPUTS = [loaded(IMAGE), loaded(SCALE)], [loaded(ANSWER)]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        pytest.param(SAME_INPUTS, SAME_OUTPUTS, id="the same"),
        pytest.param(SAME_INPUTS[::-1], SAME_OUTPUTS, id="in another order"),
        pytest.param([loaded(IMAGE, 1, 3, None, None), loaded(SCALE)], SAME_OUTPUTS, id="other dimensions free"),
        pytest.param(SAME_INPUTS, [loaded(ANSWER, names=("a", "b"))], id="more names"),
        pytest.param(SAME_INPUTS, [loaded(ANSWER, 1, 11)], id="an output of another size"),
        pytest.param(SAME_INPUTS, [LoadedTensor(frozenset(["answer"]), "float32", None)], id="a rank unknown"),
        pytest.param(SAME_INPUTS, [*SAME_OUTPUTS, loaded(SCALE)], id="one more output"),
    ],
)
def test_what_can_be_the_same_is_accepted(inputs: list[LoadedTensor], outputs: list[LoadedTensor]) -> None:
    check(inputs, outputs)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [
        pytest.param([loaded(IMAGE)], SAME_OUTPUTS, r"image float32 \(\?, 3, \?, 32\) →", id="an input missing"),
        pytest.param([*SAME_INPUTS, loaded(ANSWER)], SAME_OUTPUTS, "answer float32", id="an input more"),
        pytest.param([loaded(IMAGE, None, 3, None, 33), loaded(SCALE)], SAME_OUTPUTS, "33", id="an input's size"),
        pytest.param([loaded(IMAGE, None, 3, 32), loaded(SCALE)], SAME_OUTPUTS, r"\(\?, 3, 32\)", id="an input's rank"),
        pytest.param([loaded(IMAGE, dtype="bf16"), loaded(SCALE)], SAME_OUTPUTS, "image bf16", id="an input's type"),
        pytest.param(SAME_INPUTS, [], "→ nothing", id="an output missing"),
        pytest.param(SAME_INPUTS, [loaded(ANSWER, None, 10, 1)], r"\(\?, 10, 1\)", id="an output's rank"),
        pytest.param(SAME_INPUTS, [loaded(ANSWER, dtype="float16")], "answer float16", id="an output's type"),
    ],
)
def test_what_differs_fails_with_both(inputs: list[LoadedTensor], outputs: list[LoadedTensor], text: str) -> None:
    with pytest.raises(EngineFailed, match=rf"m\.onnx declares image .* openvino loaded .*{text}.*; convert the model"):
        check(inputs, outputs)


def test_an_input_that_nothing_reads_may_be_left_out_where_the_runtime_does_so() -> None:
    check([loaded(IMAGE)], SAME_OUTPUTS, every_input=False)
