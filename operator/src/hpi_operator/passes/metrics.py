"""What the operator counts, by Prometheus' conventions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._passes = Histogram(
            "hpi_operator_pass_seconds", "Time of one pass.", ["kind"], buckets=BUCKETS, registry=self.registry
        )
        self._writes = Counter("hpi_operator_writes", "Writes to the API server.", ["kind"], registry=self.registry)
        self._failures = Counter(
            "hpi_operator_pass_failures", "Passes that failed, by cause.", ["kind", "cause"], registry=self.registry
        )

    def passed(self, kind: str, seconds: float, writes: int) -> None:
        """Count a pass."""
        self._passes.labels(kind).observe(seconds)
        if writes:
            self._writes.labels(kind).inc(writes)

    def failed(self, kind: str, cause: str) -> None:
        """Count a pass that failed."""
        self._failures.labels(kind, cause).inc()

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return bytes(generate_latest(self.registry))
