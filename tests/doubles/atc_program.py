"""ATC where nobody has it: it reads its arguments as the real one does, and writes offline models of the doubles.

Source:
    CANN, ATC user guide, the pages on each option.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from doubles.npus import CHIP
from doubles.offline_models import OfflineModel
from doubles.onnx_graph import Graph, ShapeFailure

CHIPS: Final = (CHIP, "Ascend910B3", "Ascend310B1")
MODES: Final = ("fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16")
REQUIRED: Final = ("model", "framework", "output", "soc_version")
OPTIONAL: Final = ("input_shape", "precision_mode_v2", "log")


class Rejected(Exception):
    """What ATC says of its arguments."""


def parse(arguments: list[str]) -> dict[str, str]:
    """Return the options by name.

    Raises:
        Rejected: One is unknown, missing or without a value.
    """
    options = {}
    for argument in arguments:
        name, separator, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not separator or name not in (*REQUIRED, *OPTIONAL):
            raise Rejected(f"E10016: The argument [{argument}] is not recognised")
        options[name] = value
    missing = [name for name in REQUIRED if not options.get(name)]
    if missing:
        raise Rejected(f"E10004: Value for [--{missing[0]}] is empty")
    return options


def parse_shapes(text: str) -> dict[str, tuple[int, ...]]:
    """Return shapes by input.

    Raises:
        Rejected: The text is none of shapes.
    """
    shapes = {}
    for part in filter(None, text.split(";")):
        name, separator, sizes = part.rpartition(":")
        try:
            shapes[name] = tuple(int(size) for size in sizes.split(",") if size)
        except ValueError as error:
            raise Rejected(f"E10002: Value [{text}] for parameter [--input_shape] is invalid") from error
        if not separator:
            raise Rejected(f"E10002: Value [{text}] for parameter [--input_shape] is invalid")
    return shapes


def compile_model(options: dict[str, str]) -> OfflineModel:
    """Return the offline model of an ONNX file.

    Raises:
        Rejected: An option is wrong, or the model and the shapes do not fit.
    """
    if options["framework"] != "5":
        raise Rejected(f"E10007: [--framework] is invalid: {options['framework']}")
    if options["soc_version"] not in CHIPS:
        raise Rejected(f"E10001: Value [{options['soc_version']}] for parameter [--soc_version] is invalid")
    if options.get("precision_mode_v2", "fp16") not in MODES:
        raise Rejected("E10001: Value for parameter [--precision_mode_v2] is invalid")
    try:
        content = Path(options["model"]).read_bytes()
        graph = Graph(content)
    except Exception as error:
        raise Rejected(f"E16005: The model file [{options['model']}] cannot be read or parsed") from error
    shapes = parse_shapes(options.get("input_shape", ""))
    declared = {value.name: value.type.tensor_type.shape.dim for value in graph.inputs}
    for name in shapes:
        if name not in declared:
            raise Rejected(f"E10016: Opname [{name}] specified in [--input_shape] is not found in the model")
    for name, dimensions in declared.items():
        fixed = tuple(one.dim_value if one.HasField("dim_value") else -1 for one in dimensions)
        shapes.setdefault(name, fixed)
        if -1 in shapes[name] or len(shapes[name]) != len(fixed):
            raise Rejected(f"E10003: Shape of input [{name}] is not fixed: {shapes[name]}")
    try:
        graph.infer(tuple((value.name, shapes[value.name]) for value in graph.inputs))
    except ShapeFailure as error:
        raise Rejected(f"E69999: infer shape failed: {error}") from error
    return OfflineModel(content, options["soc_version"], shapes, options.get("precision_mode_v2", "fp16"))


def main(arguments: list[str]) -> int:
    """Do as ATC does."""
    print("ATC start working now, please wait for a moment.")
    try:
        options = parse(arguments)
        made = compile_model(options)
        # It leaves these where it runs.
        Path("fusion_result.json").write_text("{}")
        Path(options["output"]).with_suffix(".om").write_bytes(made.to_bytes())
    except Rejected as error:
        print(f"ATC run failed, Please check the detail log, Try 'atc --help' for more information\n{error}")
        return 255
    print("ATC run success, welcome to the next use.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
