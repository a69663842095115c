"""The bare runtime as one side of `bench.model_time`, in a process of its own: `python -m bench.bare_side JOB.json`.

It opens a bare session for every model on the bytes that the server serves, and answers each JSON line `{"calls":
"FILE.npz"}` with the seconds that each model took on the calls of that file. All calls are made twice and the second
time counts, as on the other side.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

from bench.bare_session import Run, open_session
from bench.recording import Call, read_calls
from hpi_agent.building.placement import BUILT_FILE, MAX_BUILT_BYTES
from hpi_agent.select.candidate import Candidate
from hpi_agent.store.directory import Store


def open_model(store: Path, job: dict[str, Any]) -> Run:
    """Return what runs one model: the engine of the store, on the bare runtime.

    Raises:
        SystemExit: The engine is not in the store.
    """
    entry = Store(store).open("engines", job["engineKey"])
    if entry is None:
        raise SystemExit(f"the engine {job['engineKey']} is not in {store}")
    with entry:
        return open_session(Candidate.from_json(job["candidate"]), entry.read(BUILT_FILE, MAX_BUILT_BYTES))


def run_calls(sessions: dict[str, Run], calls: list[Call]) -> dict[str, float]:
    """Make every call once; return the seconds inside each model."""
    seconds: dict[str, float] = {}
    for model, feeds in calls:
        started = time.perf_counter()
        sessions[model](feeds)
        seconds[model] = seconds.get(model, 0.0) + time.perf_counter() - started
    return seconds


def main(job: dict[str, Any], requests: IO[str], replies: IO[str]) -> None:
    """Open every model, say so, and answer until the parent closes the pipe."""
    sessions = {model["name"]: open_model(Path(job["store"]), model) for model in job["models"]}
    known: dict[str, list[Call]] = {}

    def calls_of(file: str) -> list[Call]:
        if file not in known:
            known[file] = read_calls(Path(file))
        return known[file]

    print(json.dumps({"open": True}), file=replies, flush=True)
    for line in requests:
        calls = calls_of(json.loads(line)["calls"])
        run_calls(sessions, calls)
        print(json.dumps(run_calls(sessions, calls)), file=replies, flush=True)


if __name__ == "__main__":
    # Runtimes print to standard output; the replies keep a descriptor of their own.
    own_output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.stdin, own_output)
    os._exit(0)
