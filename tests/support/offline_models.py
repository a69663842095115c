"""Offline models of tiny graphs: compiled by ATC where the NPU is here, else written for the doubles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpi_agent.convert.atc import compile_with_atc
from hpi_agent.engines.acl_library import AscendDevice
from models.graphs import TinyModel
from support.ways import chosen_devices

ATC_SECONDS = 300.0


def as_offline_model(model: TinyModel, directory: Path) -> Path:
    """Write a graph with the shapes of its first example, and return the offline model."""
    shapes = {name: array.shape for name, array in model.example(np.random.default_rng(5)).items()}
    onnx = model.save(directory)
    output = onnx.with_suffix(".om")
    if "om" in chosen_devices():
        device = AscendDevice(0)
        device.close()
        compile_with_atc(
            onnx, output, chip=device.chip, shapes=shapes, precision="float32", timeout_seconds=ATC_SECONDS
        )
    else:
        from doubles.npus import CHIP
        from doubles.offline_models import OfflineModel

        output.write_bytes(OfflineModel(onnx.read_bytes(), CHIP, shapes, "origin").to_bytes())
    return output
