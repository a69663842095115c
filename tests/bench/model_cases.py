"""The requests of `bench.model_time`: pages for `/ocr`, tensors for single models, and what a server counts of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.page_files import png_of
from bench.recording import Call, save_calls
from hpi_agent.building.resolution import Resolution
from hpi_agent.discovery import cpu_allowance
from hpi_agent.samples.gather import gather
from support.pages import Page

Seconds = dict[str, float]
"""By model name."""


@dataclass(frozen=True)
class Case:
    """One kind of request and the calls that it makes of models."""

    name: str
    calls: Path
    """File of `bench.recording`."""
    send: Callable[[httpx2.Client], None]


def parse_counters(text: str) -> Seconds:
    """Return the seconds inside each model from a server's metrics; pure."""
    pattern = r'^hpi_inference_duration_seconds_total\{model="([^"]+)"\} (\S+)$'
    return {name: float(value) for name, value in re.findall(pattern, text, re.MULTILINE)}


def encode_infer(feeds: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return the body of an Open Inference request with raw tensors, and the length of its JSON; pure.

    Args:
        feeds: float32 arrays by name.
    """
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": "FP32",
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in feeds.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(array.tobytes() for array in feeds.values()), len(head)


def ocr_case(name: str, page: Page, store: Path, folder: Path) -> Case:
    """Record what the models see of a page."""
    print(f"recording {page.name}", file=sys.stderr, flush=True)
    picture, calls = folder / f"{page.name}.png", folder / f"{page.name}.npz"
    picture.write_bytes(png_of(page))
    threads = cpu_allowance().whole_cores
    command = [sys.executable, "-m", "bench.recording", str(store), str(threads), str(picture), str(calls)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    body = picture.read_bytes()

    def send(client: httpx2.Client) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        answer = client.post("/ocr?visualize=false", content=body, headers=headers)
        answer.raise_for_status()

    return Case(name, calls, send)


def infer_case(resolution: Resolution, folder: Path) -> Case:
    """Return a case of the tensors on which a build judges and measures a model."""
    model = resolution.model.name
    samples = gather(resolution.inputs, only_model=resolution.use.alone).samples
    calls: list[Call] = [(model, dict(sample.feeds)) for sample in samples]
    file = folder / f"{model}.npz"
    save_calls(file, calls)
    bodies = [encode_infer(feeds) for _, feeds in calls]

    def send(client: httpx2.Client) -> None:
        for body, head in bodies:
            headers = {"Inference-Header-Content-Length": str(head), "Content-Type": "application/octet-stream"}
            client.post(f"/v2/models/{model}/infer", content=body, headers=headers).raise_for_status()

    return Case(f"infer, {len(calls)} samples", file, send)


def ask_server(client: httpx2.Client, case: Case) -> Seconds:
    """Send the requests of a case twice; return the seconds inside each model the second time."""
    case.send(client)
    before = parse_counters(client.get("/metrics").text)
    case.send(client)
    after = parse_counters(client.get("/metrics").text)
    return {model: seconds - before.get(model, 0.0) for model, seconds in after.items()}
