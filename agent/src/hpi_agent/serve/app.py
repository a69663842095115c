"""The HTTP face: routes, limits and errors; everything that touches a model is asked of the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, TypeVar

import orjson
from fastapi import FastAPI, Request, Response

from hpi_agent.engines.base import TensorSpec, check_feeds
from hpi_agent.processes.frames import Buffer, Frame, pack_tensors, unpack_tensors
from hpi_agent.serve import open_inference, paddle_protocol
from hpi_agent.serve.intake import read_body, unless_gone
from hpi_agent.serve.metrics import CONTENT_TYPE, Metrics
from hpi_agent.serve.outcome import WorkerRefused, http_status, server_timing
from hpi_agent.serve.supervisor import Place, Supervisor
from hpi_core.api.v1alpha1.pipeline import Serving
from hpi_core.errors import HpiError, Refused

T = TypeVar("T")

RAW_TYPES: Final = ("application/octet-stream", "application/pdf")


class UnknownModel(Refused):
    """No model of that name is served."""


@dataclass
class Serve:
    """What the routes share."""

    supervisor: Supervisor
    serving: Serving
    visualize: bool
    metrics: Metrics
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Descriptions of the models by name, from the worker that is ready."""
    description: dict[str, Any] = field(default_factory=dict)
    agent: Callable[[], dict[str, Any]] | None = None
    """Describes the agent of the node; None: there is none."""


def create_app(serve: Serve) -> FastAPI:
    """Return the application of one server."""
    # The interactive pages load scripts from elsewhere; the schema itself stays.
    app = FastAPI(title="hpi", version=version("hpi"), docs_url=None, redoc_url=None)
    _add_paddlex_routes(app, serve)
    _add_open_inference_routes(app, serve)
    _add_own_routes(app, serve)
    return app


def _add_paddlex_routes(app: FastAPI, serve: Serve) -> None:
    @app.get("/health", operation_id="checkHealth")
    async def health() -> Response:
        body = {"logId": paddle_protocol.new_log_id(), "errorCode": 0, "errorMsg": "Healthy"}
        return _json(200, orjson.dumps(body))

    @app.post("/ocr", operation_id="infer")
    async def ocr(request: Request) -> Response:
        log_id = paddle_protocol.new_log_id()

        async def work(place: Place) -> Response:
            nonlocal log_id
            body = await read_body(request, serve.serving)
            try:
                wanted = await _in_thread(_decode_ocr, request, body, serve.visualize)
            except Refused:
                log_id = paddle_protocol.find_log_id(body) or log_id
                raise
            log_id = wanted.header["logId"]
            frame, queue_seconds = await _ask(serve, place, "/ocr", wanted.header, [wanted.file])
            _count_stages(serve.metrics, frame)
            return _json(200, frame.payload, {"Server-Timing": server_timing(frame, queue_seconds)})

        def refuse(status: int, error: HpiError, headers: dict[str, str]) -> Response:
            return _json(
                status, paddle_protocol.encode_error(log_id, status, paddle_protocol.error_message(error)), headers
            )

        return await _answer(serve, request, "/ocr", work, refuse)


def _decode_ocr(request: Request, body: bytes, visualize: bool) -> paddle_protocol.OcrRequest:
    media_type = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if media_type.startswith("image/") or media_type in RAW_TYPES:
        return paddle_protocol.decode_raw(body, media_type, dict(request.query_params), visualize)
    if media_type == "application/json" or media_type.endswith("+json"):
        return paddle_protocol.decode_json(body, visualize)
    raise Refused(
        f"Content-Type {media_type!r} is not read here; send application/json with PaddleX's body, or the file "
        f"itself as image/*, {' or '.join(RAW_TYPES)}"
    )


def _add_open_inference_routes(app: FastAPI, serve: Serve) -> None:
    @app.exception_handler(UnknownModel)
    async def unknown_model(_: Request, error: UnknownModel) -> Response:
        return _json(404, open_inference.encode_error(str(error)))

    @app.get("/v2")
    async def server_metadata() -> Response:
        return _json(200, open_inference.encode_server_metadata("hpi", version("hpi")))

    @app.get("/v2/health/live")
    async def live() -> Response:
        return _json(200, b'{"live":true}')

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        is_ready = serve.supervisor.is_ready
        return _json(200 if is_ready else 503, b'{"ready":true}' if is_ready else b'{"ready":false}')

    @app.get("/v2/models/{model}")
    @app.get("/v2/models/{model}/versions/{model_version}")
    async def metadata(model: str, model_version: str = "1") -> Response:
        facts = _model(serve, model, model_version)
        platform = f"{facts['backend']}_onnx"
        return _json(
            200,
            open_inference.encode_metadata(model, platform, _specs(facts, "inputs"), _specs(facts, "outputs"), ("1",)),
        )

    @app.get("/v2/models/{model}/ready")
    @app.get("/v2/models/{model}/versions/{model_version}/ready")
    async def model_ready(model: str, model_version: str = "1") -> Response:
        _model(serve, model, model_version)
        return await ready()

    @app.post("/v2/models/{model}/infer")
    @app.post("/v2/models/{model}/versions/{model_version}/infer")
    async def infer(request: Request, model: str, model_version: str = "1") -> Response:
        async def work(place: Place) -> Response:
            facts = _model(serve, model, model_version)
            length = open_inference.parse_header_length(request.headers.get(open_inference.HEADER_LENGTH))
            body = await read_body(request, serve.serving)
            limits = open_inference.Limits(total_bytes=serve.serving.limits.body_bytes)
            # Raw tensors are decoded in microseconds; JSON numbers take milliseconds, and other requests would wait.
            if length is None:
                wanted = await _in_thread(open_inference.decode_request, body, length, limits)
            else:
                wanted = open_inference.decode_request(body, length, limits)
            outputs = wanted.choose_outputs([spec.name for spec in _specs(facts, "outputs")])
            header, buffers = _infer_frame(model, facts, wanted, outputs)
            frame, _ = await _ask(serve, place, "/v2/infer", header, buffers)
            _count_stages(serve.metrics, frame)
            if all(output.binary for output in outputs):
                return _infer_response(model, wanted.id, outputs, frame)
            return await _in_thread(_infer_response, model, wanted.id, outputs, frame)

        def refuse(status: int, error: HpiError, headers: dict[str, str]) -> Response:
            status = 404 if isinstance(error, UnknownModel) else 400 if status == 422 else status
            return _json(status, open_inference.encode_error(str(error)), headers)

        return await _answer(serve, request, "/v2/infer", work, refuse)


def _add_own_routes(app: FastAPI, serve: Serve) -> None:
    @app.get("/metrics")
    async def metrics() -> Response:
        serve.metrics.waiting.set(serve.supervisor.waiting)
        serve.metrics.in_service.set(serve.supervisor.in_service)
        serve.metrics.ready.set(serve.supervisor.is_ready)
        return Response(serve.metrics.render(), media_type=CONTENT_TYPE)

    @app.get("/engines")
    async def engines() -> Response:
        agent = {} if serve.agent is None else {"agent": serve.agent()}
        return _json(200 if serve.description else 503, orjson.dumps({**serve.description, **agent}))


def _model(serve: Serve, model: str, model_version: str) -> dict[str, Any]:
    if model not in serve.models:
        raise UnknownModel(f"model {model!r} is not served here; served: {sorted(serve.models)}")
    if model_version != "1":
        raise UnknownModel(f"model {model!r} has the version '1' alone, got {model_version!r}")
    return serve.models[model]


def _specs(facts: dict[str, Any], side: str) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(item["name"], item["dtype"], tuple(item["shape"])) for item in facts[side])


def _infer_frame(
    model: str,
    facts: dict[str, Any],
    wanted: open_inference.InferRequest,
    outputs: tuple[open_inference.RequestedOutput, ...],
) -> tuple[dict[str, Any], list[Buffer]]:
    feeds = check_feeds(_specs(facts, "inputs"), wanted.inputs)
    inputs, buffers = pack_tensors(feeds)
    return {"kind": "infer", "model": model, "inputs": inputs, "outputs": [one.name for one in outputs]}, buffers


def _infer_response(
    model: str, request_id: str | None, wanted: tuple[open_inference.RequestedOutput, ...], frame: Frame
) -> Response:
    outputs = unpack_tensors(frame.header["outputs"], frame.payload)
    encoded = open_inference.encode_response(model, "1", request_id, outputs, wanted)
    return Response(b"".join(encoded.buffers), headers=encoded.headers)


async def _ask(
    serve: Serve, place: Place, route: str, header: dict[str, Any], buffers: list[Buffer]
) -> tuple[Frame, float]:
    started = time.perf_counter()
    frame = await place.ask(header, buffers)
    queue_seconds = max(0.0, time.perf_counter() - started - frame.header["busySeconds"])
    serve.metrics.queue_seconds.labels(route).observe(queue_seconds)
    if frame.header["status"] != 200:
        raise WorkerRefused(frame.header["status"], frame.header["error"])
    return frame, queue_seconds


async def _answer(
    serve: Serve,
    request: Request,
    route: str,
    work: Callable[[Place], Awaitable[Response]],
    refuse: Callable[[int, HpiError, dict[str, str]], Response],
) -> Response:
    """Run one request in a place of its own, turn errors into answers, and count it."""
    started = time.perf_counter()
    try:
        async with serve.supervisor.place() as place:
            response = await unless_gone(request, work(place))
    except HpiError as error:
        status, headers = http_status(error)
        response = refuse(status, error, headers)
    serve.metrics.requests.labels(route, str(response.status_code)).inc()
    serve.metrics.request_seconds.labels(route).observe(time.perf_counter() - started)
    return response


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a codec off the event loop: a large body takes milliseconds, and other requests wait meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _count_stages(metrics: Metrics, frame: Frame) -> None:
    for stage, seconds in frame.header.get("stages", {}).items():
        metrics.stage_seconds.labels(stage).inc(seconds)
    for model, seconds in frame.header["models"].items():
        metrics.inference_seconds.labels(model).inc(max(0.0, seconds))


def _json(status: int, body: Buffer, headers: dict[str, str] | None = None) -> Response:
    return Response(bytes(body), status_code=status, headers=headers, media_type="application/json")
