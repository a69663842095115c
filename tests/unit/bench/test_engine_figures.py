from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.engine_load import summarise as summarise_loads
from bench.model_cases import encode_infer, parse_counters
from bench.model_time import Turns
from bench.model_time import summarise as summarise_turns
from bench.recording import read_calls, save_calls
from hpi_agent.serve import open_inference


def loads(bare: float, load: float, verify: float, bytes_: int = 10**9) -> dict[str, Any]:
    """Return what was measured of one engine, the same in every load."""
    return {"bytes": bytes_, "bareSeconds": [bare] * 3, "loadSeconds": [load] * 3, "verifySeconds": [verify] * 3}


@pytest.mark.parametrize(
    ("load", "verify", "within"),
    [
        pytest.param(1.2, 1.0, True, id="both at the edge"),
        pytest.param(1.21, 0.5, False, id="loads too slowly"),
        pytest.param(1.0, 1.01, False, id="verifies too slowly"),
    ],
)
def test_a_load_is_within_its_aims_when_both_loading_and_verifying_are(
    load: float, verify: float, within: bool
) -> None:
    figures = summarise_loads(loads(1.0, load, verify))

    assert figures["within"] is within


def test_a_load_is_told_with_its_parts_and_the_rate_of_verification() -> None:
    figures = summarise_loads(
        {"bytes": 2 * 10**9, "bareSeconds": [1, 9, 2], "loadSeconds": [3, 2, 4], "verifySeconds": [0.5, 1, 4]}
    )

    assert (figures["bareMilliseconds"], figures["loadMilliseconds"], figures["loadRatio"]) == (2000, 3000, 1.5)
    assert (figures["verifyGigabytesPerSecond"], figures["totalMilliseconds"]) == (2, 4000)


def test_the_seconds_of_each_model_are_read_from_the_metrics() -> None:
    text = (
        "# TYPE hpi_inference_duration_seconds_total counter\n"
        'hpi_inference_duration_seconds_total{model="det"} 1.25\n'
        'hpi_inference_duration_seconds_created{model="det"} 1.7e+09\n'
        'hpi_stage_duration_seconds_total{stage="predict"} 9.0\n'
        'hpi_inference_duration_seconds_total{model="rec"} 2.5e-05\n'
    )

    assert parse_counters(text) == {"det": 1.25, "rec": 2.5e-05}


@pytest.mark.parametrize(("server", "within"), [(1.05, True), (1.06, False)])
def test_a_model_in_the_server_is_within_its_aim_up_to_5_percent(server: float, within: bool) -> None:
    [row] = summarise_turns(Turns({("ocr", "det"): [server] * 3}, {("ocr", "det"): [1.0] * 3}))

    assert (row["ratio"], row["within"]) == (server, within)


def test_what_a_server_does_not_count_has_no_ratio() -> None:
    [row] = summarise_turns(Turns({("infer", "det"): [0.0, 0.0]}, {("infer", "det"): [1.0, 1.0]}))

    assert (row["serverMilliseconds"], row["ratio"], row["within"]) == (None, None, None)


def test_the_body_of_an_inference_is_what_the_server_reads() -> None:
    feeds = {"x": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "y": np.ones((2,), np.float32)}

    body, length = encode_infer(feeds)
    read = open_inference.decode_request(body, length, open_inference.Limits(total_bytes=len(body)))

    assert {name: array.tolist() for name, array in read.inputs.items()} == {
        name: array.tolist() for name, array in feeds.items()
    }
    assert json.loads(body[:length])["parameters"] == {"binary_data_output": True}


def test_recorded_calls_come_back_in_order_with_their_arrays(tmp_path: Path) -> None:
    calls = [(f"model{index % 2}", {"in/x": np.full((2, index + 1), index, np.float32)}) for index in range(12)]

    save_calls(tmp_path / "calls.npz", calls)
    read = read_calls(tmp_path / "calls.npz")

    assert [(model, feeds["in/x"].tolist()) for model, feeds in read] == [
        (model, feeds["in/x"].tolist()) for model, feeds in calls
    ]
