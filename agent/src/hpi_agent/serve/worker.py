"""The worker process: holds the engines, answers one request after the other, and can be replaced when it dies.

It is started with one end of a socket pair as its only argument and knows nothing of HTTP. Everything native that a
request can reach (decoders, runtimes) runs here, so a crash ends this process and not the server.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from hpi_agent.processes.frames import BlockingChannel, Buffer, Frame, pack_tensors, unpack_tensors
from hpi_agent.serve.outcome import status_of
from hpi_core.errors import HpiError

log: Final = logging.getLogger("hpi.worker")


def main(arguments: list[str]) -> int:
    """Run the worker until its peer closes the channel; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Ctrl-C in a terminal reaches the whole process group; the server decides when the worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = BlockingChannel(socket.socket(fileno=int(arguments[0])))
    start = channel.receive()
    if start is None:
        return 0
    try:
        served = _start(start.header, channel.send)
        channel.send({"event": "ready", **served.describe()})
    except HpiError as error:
        channel.send({"event": "failed", "error": str(error), "kind": type(error).__name__})
        return 1
    except Exception as error:
        log.exception("the worker could not start")
        channel.send({"event": "failed", "error": f"{type(error).__name__}: {error}", "kind": "Bug"})
        return 1
    if served.follows_store:
        # Never joined: it loads engines, and the process ends by os._exit.
        threading.Thread(target=_follow, args=(served, channel), name="change-over", daemon=True).start()
    while (frame := channel.receive()) is not None:
        with served.shelf.turn:
            header, buffers = _answer(served, frame)
        channel.send(header, buffers)
    served.clear()
    return 0


def _start(header: Mapping[str, Any], say: Callable[[dict[str, Any]], None]) -> Any:
    from hpi_agent.exchange.address import AgentAddress
    from hpi_agent.models.sources.settings import SourceSettings
    from hpi_agent.serve.served import Start, open_pipeline

    folder, credentials, claims = (header.get(name) for name in ("samples", "credentials", "claims"))
    start = Start(
        header["manifest"],
        header["where"],
        Path(header["store"]),
        header["threads"],
        None if folder is None else Path(folder),
        header.get("cautious", False),
        SourceSettings.read(
            os.environ,
            None if credentials is None else Path(credentials),
            None if claims is None else Path(claims),
        ),
        AgentAddress.read(os.environ),
    )
    return open_pipeline(start, say)


def _follow(served: Any, channel: BlockingChannel) -> None:
    from hpi_agent.serve.change_over import ChangeOver

    def tell(event: dict[str, Any]) -> None:
        try:
            channel.send(event)
        except OSError:
            log.info("the server has gone while engines changed; this process ends with it")

    ChangeOver(served, tell).run()


def _answer(served: Any, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
    handlers: dict[str, Callable[[Frame], tuple[dict[str, Any], list[Buffer]]]] = {
        "ocr": lambda request: answer_ocr(served, request),
        "infer": lambda request: answer_infer(served, request),
    }
    started = time.perf_counter()
    try:
        header, buffers = handlers[frame.header["kind"]](frame)
    except HpiError as error:
        header, buffers = {"status": status_of(error), "error": str(error)}, []
    except MemoryError:
        header, buffers = (
            {"status": 503, "error": "the worker ran out of memory on this request; send less at once"},
            [],
        )
    except Exception as error:
        # The text of an unexpected error can hold paths and addresses: it goes to the log, not to the client.
        log.exception("a request failed unexpectedly")
        header, buffers = {"status": 500, "error": f"Internal server error ({type(error).__name__})"}, []
    return {"id": frame.header["id"], "busySeconds": time.perf_counter() - started, **header}, buffers


def answer_ocr(served: Any, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
    """Answer one OCR request with the complete body of PaddleX's response."""
    from hpi_agent.pipelines.ocr import Timings

    header = frame.header
    timings = Timings()
    before = served.shelf.busy_seconds()
    result = served.ocr().answer(frame.payload, header["fileType"], header["options"], header["visualize"], timings)
    body = orjson.dumps({"logId": header["logId"], "result": result, "errorCode": 0, "errorMsg": "Success"})
    timings.lap("encode")
    after = served.shelf.busy_seconds()
    models = {name: seconds - before.get(name, 0.0) for name, seconds in after.items()}
    return {"status": 200, "stages": timings.stages, "models": models}, [body]


def answer_infer(served: Any, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
    """Answer one Open Inference request: tensors in, tensors out, as raw little-endian bytes."""
    header = frame.header
    shelved = served.shelf.get(header["model"])
    before = shelved.usage.seconds
    outputs = shelved.infer(unpack_tensors(header["inputs"], frame.payload))
    seconds = shelved.usage.seconds - before
    described, buffers = pack_tensors({name: outputs[name] for name in header["outputs"]})
    return {"status": 200, "outputs": described, "models": {shelved.model_name: seconds}}, buffers


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Runtimes' thread pools can hang in their destructors; everything that matters is sent and flushed.
    os._exit(code)
