"""How a model is run: PaddleX's settings of the inference engine, inherited exactly as in PaddleX."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel, JsonObject
from hpi_core.api.rules import Opaque
from hpi_core.api.v1alpha1.scalars import DEVICE


class HpiConfig(ApiModel):
    """Settings of the inference backend, the same as in PaddleX's `hpi_config`."""

    auto_config: bool | None = None
    """Whether the backend may be chosen for the user. False: `backend` is used exactly as written. Absent: true."""

    backend: Literal["onnxruntime", "openvino", "paddle", "tensorrt", "om"] | None = None
    """The backend to use. Absent: the fastest of those that give the reference's answers, as measured on the machine
    that serves; until it is measured, the first of the knowledge table that loads without a build."""

    backend_config: Annotated[JsonObject, Opaque()] | None = None
    """Settings of the backend with PaddleX's own keys: `cpu_num_threads` for every backend; `cpu_threads`, `run_mode`,
    `mkldnn_cache_capacity` and the `trt_` keys for `paddle`; `precision` for every other backend (fp32, and of tf32,
    bf16, fp16 and int8 what it has); `dynamic_shapes`, `workspace_mebibytes` and `optimization_level` for `tensorrt`;
    `execution_provider` for `onnxruntime`."""

    # The generator of aliases would write autoPaddle2Onnx.
    auto_paddle2onnx: bool | None = Field(default=None, alias="autoPaddle2onnx")
    """Whether a model in Paddle's format may be converted to ONNX. Absent: true."""

    def to_paddlex(self) -> JsonObject:
        """Return the settings that were written, under PaddleX's snake_case keys."""
        return self.model_dump(by_alias=False, exclude_none=True)


class Inference(ApiModel):
    """How models are run. What is absent is inherited exactly as in PaddleX: the module's own value wins."""

    use_hpip: bool | None = None
    """Whether high-performance inference is used. Absent: what the pipeline's YAML says, else true."""

    hpi_config: HpiConfig | None = None
    """Settings of the inference backend."""

    engine: Literal["hpi"] | None = None
    """PaddleX's engine. Absent: chosen by `useHpip`."""

    engine_config: Annotated[JsonObject, Opaque()] | None = None
    """Settings of PaddleX's engine with PaddleX's own keys; for the engine `hpi` the same as `hpiConfig`, of which only
    one may be set."""

    device: Annotated[str, Field(pattern=DEVICE, max_length=64)] | None = None
    """PaddleX's device string, such as `cpu` or `gpu:0`. Absent: what the placement gives; on one machine, `cpu`."""
