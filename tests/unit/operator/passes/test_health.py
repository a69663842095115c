"""The probes: 200 while all is well, 503 with the reason else; metrics by the conventions of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx2
import pytest

from hpi_operator.passes.health import Health, HealthServer
from hpi_operator.passes.metrics import Metrics

SECONDS: Final = 10.0


@contextmanager
def served(alive: str | None = None, ready: str | None = None, metrics: bytes = b"") -> Iterator[httpx2.Client]:
    server = HealthServer(Health(lambda: alive, lambda: ready, lambda: metrics), "127.0.0.1", 0)
    server.start()
    with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=SECONDS) as http:
        yield http
    server.stop()


@pytest.mark.parametrize(
    ("alive", "ready", "path", "status"),
    [
        (None, "the API server is away", "/healthz", 200),
        ("no pass has ended for 181 s", None, "/healthz", 503),
        ("no pass has ended for 181 s", None, "/readyz", 200),
        (None, "the API server is away", "/readyz", 503),
    ],
)
def test_each_probe_answers_for_itself(alive: str | None, ready: str | None, path: str, status: int) -> None:
    with served(alive, ready) as http:
        answer = http.get(path)

    assert answer.status_code == status
    assert answer.json().get("why") == (None if status == 200 else alive if path == "/healthz" else ready)


def test_metrics_are_text_that_prometheus_reads() -> None:
    with served(metrics=b"a 1\n") as http:
        answer = http.get("/metrics")

    assert (answer.status_code, answer.text) == (200, "a 1\n")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_another_path_is_not_there_and_says_what_is() -> None:
    with served() as http:
        answer = http.get("/")

    assert answer.status_code == 404
    assert "/healthz" in answer.text


def all_metrics() -> Metrics:
    metrics = Metrics()
    metrics.passed("HPIPipeline", 0.1, 3, ["FieldConflict"])
    metrics.failed("HPIPipeline", "Away")
    metrics.sent("GET", 200, 0.01)
    metrics.gauge("hpi_operator_leader", "Whether this operator acts.", lambda: 1.0)
    metrics.gauges("hpi_operator_right_missing", "Rights.", "right", lambda: {'patch "x"': 1.0})
    return metrics


def test_every_name_has_its_prefix_its_unit_and_its_help() -> None:
    text = all_metrics().text().decode()

    names = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    documented = set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE))
    assert {name for name, _ in names} <= documented
    for name, kind in names:
        assert name.startswith(("hpi_operator_", "process_")), name
        assert kind != "counter" or name.endswith("_total"), name
        assert kind != "histogram" or name.endswith("_seconds") or name.endswith("_seconds_created"), name
        assert not re.search(r"_(ms|milliseconds|count)$", name), name


def test_what_happened_is_counted_by_kind_and_cause() -> None:
    value = all_metrics().registry.get_sample_value

    assert value("hpi_operator_writes_total", {"kind": "HPIPipeline"}) == 3
    assert value("hpi_operator_pass_failures_total", {"kind": "HPIPipeline", "cause": "Away"}) == 1
    assert value("hpi_operator_refusals_total", {"kind": "HPIPipeline", "reason": "FieldConflict"}) == 1
    assert value("hpi_operator_pass_duration_seconds_count", {"kind": "HPIPipeline"}) == 1
    assert value("hpi_operator_api_request_duration_seconds_count", {"method": "GET", "code": "200"}) == 1
    assert value("hpi_operator_leader") == 1
    assert value("hpi_operator_right_missing", {"right": 'patch "x"'}) == 1


def test_the_process_shows_its_memory() -> None:
    memory = all_metrics().registry.get_sample_value("process_resident_memory_bytes")

    assert memory is not None
    assert memory > 10**6
