"""TensorRT inside Paddle: what is compiled, what it lays down, and what of a model it takes; for the child process.

Programs in Paddle's present format are rewritten once (`paddle.tensorrt.export`): a program with engines in it, its
weights and a folder of engines. Programs of the format before keep their own file; beside them lie the ranges of all
shapes inside and the engines that Paddle's passes made. Which of both is decided by the name of the program file.

Source:
    paddlex 3.7.2, `paddle_static/runner.py`, `_convert_trt` and `_configure_trt`; Paddle's
    `python/paddle/tensorrt/export.py` (`Input`, `TensorRTConfig`, `convert`) and `converter.py` (where engines lie);
    `paddle.inference.Config` of paddlepaddle 3.2.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, ShapeProfile, TensorSpec
from hpi_agent.engines.paddle_configuration import FIRST_POOL_MEBIBYTES, configure
from hpi_agent.engines.shape_profiles import profiles_for
from hpi_core.errors import EngineFailed
from hpi_core.formats import DType

PREFIX: Final = "inference"
PLACEMENT: Final = "placement.json"
SHAPE_RANGES: Final = "shape_ranges.pbtxt"
ENGINES: Final = "engines"
ENGINE_OPERATOR: Final = "pd_op.tensorrt_engine"
NO_OPERATORS: Final = frozenset({"pd_op.data", "pd_op.feed", "pd_op.fetch", "builtin.parameter", "builtin.combine"})
WORKSPACE_BYTES: Final = 1 << 30
MIN_SUBGRAPH: Final = 3
MAX_BATCH: Final = 32
"""These three as PaddleX sets them."""

Feeds = dict[str, NDArray[Any]]


def convert(
    paddle: Any, importer: Callable[[], Any], wanted: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]
) -> None:
    """Compile a model and write what has to be kept into the folder `directory` of `wanted`.

    Args:
        paddle: The module.
        importer: Imports `paddle.tensorrt.export`.
        wanted: What is asked; see `paddle_request.read_wanted`.
        inputs: What the program declares.

    Raises:
        Refused: A free dimension has no range of sizes.
        EngineFailed: TensorRT takes nothing of this model.
    """
    specs = [TensorSpec(one["name"], cast(DType, one["dtype"]), tuple(one["shape"])) for one in inputs]
    given = tuple(
        ShapeProfile(one["name"], *(tuple(one[which]) for which in ("smallest", "usual", "largest")))
        for one in wanted["profiles"]
    )
    profiles = profiles_for(EngineRequest(Path(wanted["program"]), "paddle", 1, profiles=given), specs)
    feeds = [_ones(specs, profiles, which) for which in ("smallest", "usual", "largest")]
    if _is_legacy(wanted):
        _convert_legacy(paddle, wanted, feeds)
    else:
        _convert(importer(), wanted, specs, feeds)


def _convert(export: Any, wanted: Mapping[str, Any], specs: Sequence[TensorSpec], feeds: Sequence[Feeds]) -> None:
    directory = Path(wanted["directory"])
    # By position: the argument that names an input is younger than the releases in use.
    chosen = export.TensorRTConfig(
        inputs=[export.Input(warmup_data=tuple(feed[spec.name] for feed in feeds)) for spec in specs]
    )
    half = wanted["precision"] == "float16"
    chosen.precision_mode = export.PrecisionMode.FP16 if half else export.PrecisionMode.FP32
    chosen.workspace_size = wanted["device_memory_bytes"] or WORKSPACE_BYTES
    chosen.save_model_dir = str(directory / PREFIX)
    program = export.convert(str(Path(wanted["program"]).with_suffix("")), chosen)
    names = [operation.name() for operation in program.global_block().ops]
    engines = names.count(ENGINE_OPERATOR)
    others = sum(name not in NO_OPERATORS and name != ENGINE_OPERATOR for name in names)
    if engines == 0:
        raise EngineFailed(
            f"TensorRT takes none of the {others} operators of {wanted['program']}; choose run_mode 'paddle'"
        )
    (directory / PLACEMENT).write_text(json.dumps({"engines": engines, "others": others}))


def _convert_legacy(paddle: Any, wanted: Mapping[str, Any], feeds: Sequence[Feeds]) -> None:
    directory = Path(wanted["directory"])
    config = paddle.inference.Config(wanted["program"], wanted["weights"])
    config.disable_glog_info()
    config.enable_use_gpu(FIRST_POOL_MEBIBYTES, wanted["device_index"])
    config.enable_new_ir(False)
    config.collect_shape_range_info(str(directory / SHAPE_RANGES))
    smallest, usual, largest = feeds
    _run(paddle.inference.create_predictor(config), [smallest, usual, usual, largest])
    config = configure(paddle, wanted, wanted["program"], wanted["weights"])
    use_compiled(paddle, config, {**wanted, "compiled": wanted["directory"]})
    # Engines are written when the predictor is made, or by its first run.
    _run(paddle.inference.create_predictor(config), [usual])
    engines = _engine_files(directory)
    if not engines:
        raise EngineFailed(f"TensorRT takes nothing of {wanted['program']}; choose run_mode 'paddle'")
    (directory / PLACEMENT).write_text(json.dumps({"engines": len(engines), "others": None}))


def files_to_load(wanted: Mapping[str, Any]) -> tuple[str, str]:
    """Return the program and the weights of a compiled model."""
    if _is_legacy(wanted):
        return wanted["program"], wanted["weights"]
    compiled = Path(wanted["compiled"])
    return str(compiled / f"{PREFIX}.json"), str(compiled / f"{PREFIX}.pdiparams")


def use_compiled(paddle: Any, config: Any, wanted: Mapping[str, Any]) -> None:
    """Have a predictor use the engines that lie in the folder `compiled` of `wanted`, or write them there."""
    if not _is_legacy(wanted):
        return
    compiled = Path(wanted["compiled"])
    (compiled / ENGINES).mkdir(exist_ok=True)
    precisions = paddle.inference.PrecisionType
    config.enable_new_ir(False)
    config.set_optim_cache_dir(str(compiled / ENGINES))
    config.enable_tensorrt_engine(
        workspace_size=wanted["device_memory_bytes"] or WORKSPACE_BYTES,
        max_batch_size=MAX_BATCH,
        min_subgraph_size=MIN_SUBGRAPH,
        precision_mode=precisions.Half if wanted["precision"] == "float16" else precisions.Float32,
        use_static=True,
        use_calib_mode=False,
    )
    # Never within a request: shapes beyond the ranges are refused at the door.
    config.enable_tuned_tensorrt_dynamic_shape(str(compiled / SHAPE_RANGES), False)


def describe_placement(config: Any, wanted: Mapping[str, Any]) -> str:
    """Return what of a loaded model TensorRT computes, for people.

    Raises:
        EngineFailed: Paddle does not use TensorRT, or did not take the engines it was given and built others.
    """
    compiled = Path(wanted["compiled"])
    if _is_legacy(wanted):
        if not config.tensorrt_engine_enabled():
            raise EngineFailed(f"paddle was asked for TensorRT and has it off for {wanted['program']}")
        if len(_engine_files(compiled)) != _placement(compiled)["engines"]:
            raise EngineFailed(f"paddle did not take the engines of {wanted['program']}; build them again")
    placement = _placement(compiled)
    rest = "" if placement["others"] is None else f", {placement['others']} operators by Paddle"
    return f"TensorRT in {placement['engines']} part(s){rest}"


def _placement(compiled: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((compiled / PLACEMENT).read_text())
    return found


def _engine_files(compiled: Path) -> list[Path]:
    return sorted((compiled / ENGINES).glob("trt_serialized_*"))


def _is_legacy(wanted: Mapping[str, Any]) -> bool:
    return Path(wanted["program"]).suffix == ".pdmodel"


def _ones(specs: Sequence[TensorSpec], profiles: Sequence[ShapeProfile], which: str) -> Feeds:
    shapes = {profile.name: getattr(profile, which) for profile in profiles}
    return {spec.name: np.ones(shapes.get(spec.name, ()), dtype=spec.dtype) for spec in specs}


def _run(predictor: Any, feeds: Sequence[Feeds]) -> None:
    for feed in feeds:
        for name, array in feed.items():
            handle = predictor.get_input_handle(name)
            handle.reshape(list(array.shape))
            handle.copy_from_cpu(array)
        predictor.run()
