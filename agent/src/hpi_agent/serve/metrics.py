"""Metrics of one server, in Prometheus' text format; names and units follow Prometheus' naming practice."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server; a registry of its own, so that two servers in one process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hpi_requests", "Requests answered, by route and HTTP status.", ["route", "code"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "hpi_request_duration_seconds",
            "Time from the arrival of a request to its answer.",
            ["route"],
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "hpi_queue_duration_seconds",
            "Time that a request waited for the worker.",
            ["route"],
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self.stage_seconds = Counter(
            "hpi_stage_duration_seconds", "Time spent in each stage of OCR requests.", ["stage"], registry=self.registry
        )
        self.inference_seconds = Counter(
            "hpi_inference_duration_seconds",
            "Time spent inside each model's engine.",
            ["model"],
            registry=self.registry,
        )
        self.waiting = Gauge("hpi_queue_depth", "Requests that wait for the worker.", registry=self.registry)
        self.in_service = Gauge("hpi_requests_in_service", "Requests that the worker serves.", registry=self.registry)
        self.ready = Gauge(
            "hpi_ready", "1 when a real inference has passed and requests are taken.", registry=self.registry
        )
        self.restarts = Counter("hpi_worker_restarts", "Times the worker was replaced.", registry=self.registry)
        self.engines = Gauge(
            "hpi_engine_info",
            "Always 1; says which engine serves each model.",
            ["model", "backend", "version", "precision", "state"],
            registry=self.registry,
        )

    def watch_agent(self) -> None:
        """Begin to show the agent of the node; a server without one has none of these."""
        self.agent = Gauge(
            "hpi_agent_state",
            "1 for how the agent of the node answers now: Answers, Away, Refuses, Full or Unknown.",
            ["state"],
            registry=self.registry,
        )
        self.agent_reports = Counter(
            "hpi_agent_reports", "Reports to the agent of the node, by result.", ["result"], registry=self.registry
        )
        self.show_agent("Unknown")

    def show_agent(self, state: str) -> None:
        """Replace what the agent of the node was seen to do."""
        self.agent.clear()
        self.agent.labels(state).set(1)

    def count_report(self, result: str) -> None:
        """Count one report, `ok` or `failed`."""
        self.agent_reports.labels(result).inc()

    def show_engines(self, models: list[dict[str, Any]]) -> None:
        """Replace the engines by those of a worker's description."""
        self.engines.clear()
        for model in models:
            labels = (model["name"], model["backend"], model["version"], model["precision"], model["state"])
            self.engines.labels(*labels).set(1)

    def render(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self.registry)
