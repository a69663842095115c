"""What a program of Paddle declares of its inputs and outputs; for the child process, which hands in paddle itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hpi_core.errors import EngineFailed

Spec = dict[str, Any]

KNOWN_TYPES: Final = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
"""Types that cross the predictor's door (`paddle.inference.DataType` of 3.2.2), bfloat16 left out: numpy has none."""


def check_names(path: str, named: tuple[list[str], list[str]], declared: tuple[list[str], list[str]]) -> None:
    """Check that the predictor has the inputs and outputs that the program declares, each name once.

    Raises:
        EngineFailed: It has others, or an output is an input: Paddle loads such a program and fails when it runs
            (paddlepaddle 3.2.2).
    """
    inputs, outputs = declared
    twice = sorted(name for name in {*inputs, *outputs} if [*inputs, *outputs].count(name) > 1)
    if twice:
        raise EngineFailed(
            f"{path} uses the names {twice} for more than one input or output, which paddle cannot run; export the "
            "model with outputs that are computed, or choose another backend"
        )
    if tuple(map(sorted, named)) != tuple(map(sorted, declared)):
        raise EngineFailed(f"{path} declares {declared}, paddle loaded {named}; export the model again")


def read_signature(paddle: Any, program: Path) -> tuple[list[Spec], list[Spec]]:
    """Return inputs and outputs as the program declares them, in order, without its weights.

    The predictor knows names alone before its first run.

    Raises:
        EngineFailed: A tensor has a type that the predictor does not take or give, as int16 and bfloat16.
    """
    if program.suffix == ".json":
        return _signature_of_pir(paddle, program)
    return _signature_of_legacy(paddle, program)


def _signature_of_pir(paddle: Any, program: Path) -> tuple[list[Spec], list[Spec]]:
    read = paddle.static.Program()
    paddle.base.core.deserialize_pir_program(str(program), read)
    inputs, outputs = [], []
    for operation in read.global_block().ops:
        if operation.name() == "pd_op.data":
            value = operation.result(0)
            inputs.append(_spec(operation.attrs()["name"], value.shape, value.dtype))
        elif operation.name() == "pd_op.fetch":
            value = operation.operand_source(0)
            outputs.append((operation.attrs()["col"], _spec(operation.attrs()["name"], value.shape, value.dtype)))
    return inputs, [spec for _, spec in sorted(outputs, key=lambda output: int(output[0]))]


def _signature_of_legacy(paddle: Any, program: Path) -> tuple[list[Spec], list[Spec]]:
    # The block lies in the memory of its description, which Python would free after this line if nobody held it.
    description = paddle.base.core.ProgramDesc(program.read_bytes())
    block = description.block(0)
    found: dict[str, list[tuple[int, Spec]]] = {"feed": [], "fetch": []}
    for position in range(block.op_size()):
        operation = block.op(position)
        if operation.type() in found:
            [name] = operation.output("Out") if operation.type() == "feed" else operation.input("X")
            variable = block.find_var(name.encode())
            found[operation.type()].append((operation.attr("col"), _spec(name, variable.shape(), variable.dtype())))
    inputs, outputs = ([spec for _, spec in sorted(specs, key=lambda one: one[0])] for specs in found.values())
    return inputs, outputs


def _spec(name: str, shape: Any, dtype: Any) -> Spec:
    # `paddle.float32`, `DataType.FLOAT32`, `VarType.FP32`: each reader of programs has its own word.
    word = str(dtype).rpartition(".")[2].lower()
    numpy_name = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}.get(word, word)
    if numpy_name not in KNOWN_TYPES:
        raise EngineFailed(
            f"tensor {name!r} has the type {word}, which paddle cannot take or give; "
            f"allowed: {', '.join(KNOWN_TYPES)}; export the model with another type"
        )
    return {"name": name, "dtype": numpy_name, "shape": [None if size < 0 else int(size) for size in shape]}
