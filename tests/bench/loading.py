"""Both ways to load one engine, in turn, in a process of its own: `python -m bench.loading`, a job on standard input.

One process for all loads of one engine, not one for each: importing a runtime and starting its device takes longer than
loading, is the same on both sides, and a server does it once. Of a process's own first load of either side nothing is
counted for that reason.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from bench.bare_session import deserialise, warm_up
from hpi_agent.building.placement import BUILT_FILE, MAX_BUILT_BYTES, Placement, engine_request
from hpi_agent.engines.registry import load_engine
from hpi_agent.select.candidate import Candidate
from hpi_agent.store.directory import Store

REST_SECONDS: Final = 0.1
"""Pause before each load, in which the threads of what was closed end."""


def load_from_store(store: Path, key: str, candidate: Candidate, model_path: Path) -> dict[str, float]:
    """Load an engine the way a worker does; return the seconds of each part."""
    started = time.perf_counter()
    entry = Store(store).open("engines", key)
    if entry is None:
        raise SystemExit(f"the engine {key} is not in {store} any more")
    with entry:
        built = entry.read(BUILT_FILE, MAX_BUILT_BYTES)
        verified = time.perf_counter()
        engine = load_engine(engine_request(candidate, model_path, None, Placement(), built))
        loaded = time.perf_counter()
        engine.close()
    return {"verify": verified - started, "load": loaded - verified}


def load_bare(candidate: Candidate, built: bytes) -> float:
    """Let the runtime itself load the same bytes; return the seconds."""
    started = time.perf_counter()
    session = deserialise(candidate, built)
    seconds = time.perf_counter() - started
    del session
    return seconds


def compare(job: dict[str, Any]) -> dict[str, Any]:
    """Load both ways in turn; return the seconds of every load."""
    store, key = Path(job["store"]), job["key"]
    candidate, model_path = Candidate.from_json(job["candidate"]), Path(job["modelPath"])
    entry = Store(store).open("engines", key)
    if entry is None:
        raise SystemExit(f"the engine {key} is not in {store}")
    with entry:
        built = entry.read(BUILT_FILE, MAX_BUILT_BYTES)
    warm_up(candidate)
    ours: list[dict[str, float]] = []
    bare: list[float] = []

    def from_store() -> None:
        ours.append(load_from_store(store, key, candidate, model_path))

    def by_runtime() -> None:
        bare.append(load_bare(candidate, built))

    for number in range(job["rounds"] + 1):
        # Who comes first changes: what one leaves in caches must not favour the other.
        for load in (from_store, by_runtime) if number % 2 else (by_runtime, from_store):
            gc.collect()
            time.sleep(REST_SECONDS)
            load()
    return {
        "bytes": len(built),
        "verifySeconds": [one["verify"] for one in ours[1:]],
        "loadSeconds": [one["load"] for one in ours[1:]],
        "bareSeconds": bare[1:],
    }


if __name__ == "__main__":
    # Runtimes print to standard output; the answer keeps a descriptor of its own.
    own_output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(json.dumps(compare(json.load(sys.stdin))), file=own_output, flush=True)
    os._exit(0)
