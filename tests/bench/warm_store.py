"""A store that knows what to serve: `hpi-agent build`, as a user runs it ahead of a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from hpi_agent.configuration import configs_directory


def sample_file() -> Path:
    """Return the manifest of the sample pipeline."""
    return configs_directory() / "pipelines" / "ocr.yaml"


def sample_document(policy: str = "Prebuild") -> dict[str, Any]:
    """Return the sample pipeline.

    Args:
        policy: `Prebuild` takes what was built before and builds nothing beside the server, which would take the cores
            that it is timed on; `Never` leaves the store's engines alone.
    """
    document: dict[str, Any] = yaml.safe_load(sample_file().read_text(encoding="utf-8"))
    document["spec"]["build"] = {**document["spec"].get("build", {}), "policy": policy}
    return document


def build_ahead(store: Path) -> dict[str, Any]:
    """Build and measure the sample pipeline into a store; return what was decided. What is decided already is kept.

    Raises:
        SystemExit: The build failed; its own message is above.
    """
    print(f"building ahead into {store}", file=sys.stderr, flush=True)
    command = [
        sys.executable,
        "-m",
        "hpi_agent",
        "build",
        "-f",
        str(sample_file()),
        "--store",
        str(store),
        "-o",
        "json",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`hpi-agent build` ended with {done.returncode}; its message is above")
    return read_build(done.stdout)


def read_build(told: str) -> dict[str, Any]:
    """Return the last line of a build's JSON lines, and for each model whether it was decided before; pure.

    Raises:
        SystemExit: The build did not say how it ended.
    """
    events = [json.loads(line) for line in told.splitlines()]
    if not events or events[-1]["event"] != "finished":
        raise SystemExit("`hpi-agent build -o json` did not end with the event `finished`")
    hits = {event["model"]: event["hit"] for event in events if event["event"] == "decided"}
    finished = events[-1]
    return {
        "seconds": finished["seconds"],
        "models": [{**row, "hit": hits[row["model"]]} for row in finished["models"]],
    }


def describe_build(built: dict[str, Any]) -> str:
    """Return what was decided, one line per model."""
    lines = [f"hpi-agent build before: {built['seconds']:.1f} s"]
    for row in built["models"]:
        notes = ["decided before"] * row["hit"] + ["provisional: others used the cores"] * row["provisional"]
        lines.append(
            f"  {row['model']}: {row['chosen'] or 'nothing'}, {row['reason']}{''.join(f'; {n}' for n in notes)}"
        )
    return "\n".join(lines)
