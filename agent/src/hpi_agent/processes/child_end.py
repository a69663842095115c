"""The child's end of the channel: answer frames until the parent goes away, then leave at once."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from hpi_agent.processes.frames import BlockingChannel, Buffer, Frame
from hpi_core.errors import Bug, EngineFailed, HpiError, Refused, Retry, SourceFailed, Stop, TooLarge

Answer = tuple[dict[str, Any], list[Buffer]]
Handler = Callable[[Frame], Answer]

ERROR_KINDS: Final[dict[str, type[HpiError]]] = {
    kind.__name__: kind for kind in (Refused, TooLarge, Retry, Stop, EngineFailed, SourceFailed, Bug, HpiError)
}
"""Errors that cross the channel by name. Classes with fields of their own cross as the nearest class above them."""

log: Final = logging.getLogger("hpi.child")


def serve_frames(handlers: Mapping[str, Handler], argument: str) -> NoReturn:
    """Answer the parent's questions one after the other; end the process when the parent closes its end.

    Args:
        handlers: What answers a question, by the `kind` in its header.
        argument: The last argument of the command line: the number of the open channel.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    channel = BlockingChannel(socket.socket(fileno=int(argument)))
    code = 0
    try:
        while (frame := channel.receive()) is not None:
            header, buffers = answer(handlers, frame)
            channel.send(header, buffers)
    except OSError:
        log.info("the parent is gone")
    except Exception:
        log.exception("the channel broke")
        code = 1
    leave(code)


def answer(handlers: Mapping[str, Handler], frame: Frame) -> Answer:
    """Return the answer to one question; an error is an answer that names its class."""
    try:
        kind = frame.header["kind"]
        if kind not in handlers:
            raise Bug(f"no handler is called {kind!r}; there are {sorted(handlers)}")
        return handlers[kind](frame)
    except HpiError as error:
        named = next(cls.__name__ for cls in type(error).__mro__ if ERROR_KINDS.get(cls.__name__) is cls)
        return {"error": str(error), "kind": named}, []
    except MemoryError:
        return {"error": "this process ran out of memory; ask for less at once", "kind": "EngineFailed"}, []
    except Exception as error:
        log.exception("a question failed unexpectedly")
        return {"error": f"{type(error).__name__}: {error}", "kind": "Bug"}, []


def leave(code: int) -> NoReturn:
    """End this process without running destructors: runtimes' thread pools can hang in theirs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
