"""Run the core of the suite for one way and time it, in a process of its own: native code may end it.

Called as `python -m device.one_way NAME`; prints one line of JSON at the end.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device import paddle_claims
from device.claims import CLAIMS, Bench
from hpi_agent.engines.base import Engine
from hpi_core.errors import HpiError
from models.graphs import convolution
from support.engines import ON_DEVICES

RUNS: Final = 50
PICTURE: Final = (1, 3, 64, 64)


def run(name: str) -> dict[str, Any]:
    """Return what became of each claim, and times of the graph with a convolution."""
    with tempfile.TemporaryDirectory(prefix="hpi-device-") as folder:
        for way in ON_DEVICES:
            if way.name == name:
                return _run(Bench(way, Path(folder)))
        for paddle_way in paddle_claims.ON_DEVICES:
            if paddle_way.name == name:
                return {"claims": check(paddle_claims.CLAIMS, paddle_claims.bench_of(paddle_way, Path(folder)))}
    raise SystemExit(f"no way is called {name!r}")


def _run(bench: Bench) -> dict[str, Any]:
    way, model = bench.way, convolution()
    feeds: dict[str, NDArray[Any]] = {"x": np.ones(PICTURE, dtype=np.float32)}
    if way.fixed_shapes:
        feeds = way.example(model, np.random.default_rng(5))
    return {"claims": check(CLAIMS, bench), **timed(lambda: bench.engine(model), feeds)}


def check(claims: Iterable[Callable[[Any], None]], bench: Any) -> dict[str, str]:
    """Return `kept`, or what was raised, for every claim."""
    found = {}
    for claim in claims:
        try:
            claim(bench)
            found[claim.__name__] = "kept"
        except HpiError as error:
            found[claim.__name__] = f"{type(error).__name__}: {error}"
        except Exception:
            found[claim.__name__] = traceback.format_exc(limit=-3)
    return found


def timed(open_engine: Callable[[], Any], feeds: dict[str, Any]) -> dict[str, Any]:
    """Return how long a load and an inference take, and what was obtained; nothing where the graph does not load."""
    try:
        with open_engine():
            # Built, and the device awake.
            pass
        started = time.perf_counter()
        with open_engine() as engine:
            load_milliseconds = (time.perf_counter() - started) * 1e3
            times = [_milliseconds(engine, feeds) for _ in range(RUNS)]
            return {
                "device": engine.obtained.device,
                "version": engine.obtained.version,
                "precision": engine.obtained.precision,
                "loadMilliseconds": round(load_milliseconds, 2),
                "medianMilliseconds": round(statistics.median(times[RUNS // 5 :]), 4),
                "slowestMilliseconds": round(max(times[RUNS // 5 :]), 4),
            }
    except HpiError as error:
        return {"timing": str(error)}


def _milliseconds(engine: Engine, feeds: dict[str, Any]) -> float:
    started = time.perf_counter()
    engine.infer(feeds)
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
