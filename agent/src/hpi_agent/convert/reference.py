"""The reference of a conversion: Paddle without oneDNN, in this very process, which is a child that will end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.paddle_configuration import configure
from hpi_agent.engines.paddle_program import import_paddle, reason_of
from hpi_agent.engines.paddle_signature import read_signature
from hpi_core.errors import EngineFailed


class PaddleReference:
    """One model in Paddle, float32, without oneDNN."""

    def __init__(self, program: Path, weights: Path, threads: int) -> None:
        """Load the model.

        Raises:
            EngineFailed: Paddle cannot load it.
        """
        paddle = import_paddle()
        wanted = {"device": "cpu", "run_mode": "paddle", "precision": "float32", "threads": threads}
        try:
            inputs, outputs = read_signature(paddle, program)
            self._predictor: Any = paddle.inference.create_predictor(
                configure(paddle, wanted, str(program), str(weights))
            )
        except (EngineFailed, MemoryError):
            raise
        except Exception as error:
            raise EngineFailed(
                f"loading: paddle {paddle.__version__} cannot load {program.name}: {reason_of(error)}; "
                "export the model again with a version not newer than this one"
            ) from error
        self.inputs = tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in inputs)
        self.outputs = tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs, by name, in declared order.

        Raises:
            EngineFailed: An operator failed on these arrays.
        """
        try:
            for name, array in feeds.items():
                handle = self._predictor.get_input_handle(name)
                handle.reshape(list(array.shape))
                handle.copy_from_cpu(array)
            self._predictor.run()
            return {spec.name: self._predictor.get_output_handle(spec.name).copy_to_cpu() for spec in self.outputs}
        except MemoryError:
            raise
        except Exception as error:
            shapes = {name: array.shape for name, array in feeds.items()}
            raise EngineFailed(f"checking: paddle failed on {shapes}: {reason_of(error)}") from error
