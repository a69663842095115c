"""What the operator counts, by Prometheus' conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Values = Callable[[], Mapping[str, float]]


class _Gauges(Collector):
    """Values that are looked up when somebody asks, each with the label that tells them apart."""

    def __init__(self) -> None:
        self._known: list[tuple[str, str, str, Values]] = []

    def add(self, name: str, text: str, label: str, values: Values) -> None:
        self._known.append((name, text, label, values))

    def collect(self) -> Iterator[Metric]:
        for name, text, label, values in self._known:
            family = GaugeMetricFamily(name, text, labels=[label] if label else [])
            for key, value in sorted(values().items()):
                family.add_metric([key] if label else [], value)
            yield family

    def describe(self) -> Iterable[Metric]:
        # Nothing is looked up at the registration, before there is anything to look at.
        return ()


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._passes = Histogram(
            "hpi_operator_pass_duration_seconds", "Time of one pass.", ["kind"], buckets=BUCKETS, registry=self.registry
        )
        self._writes = Counter(
            "hpi_operator_writes", "Writes to the API server, by the kind of pass.", ["kind"], registry=self.registry
        )
        self._failures = Counter(
            "hpi_operator_pass_failures",
            "Passes that failed, by cause: an error, or the right that is missing.",
            ["kind", "cause"],
            registry=self.registry,
        )
        self._refusals = Counter(
            "hpi_operator_refusals", "Objects that could not be written.", ["kind", "reason"], registry=self.registry
        )
        self._requests = Histogram(
            "hpi_operator_api_request_duration_seconds",
            "Time until the API server began to answer, by method and status; 0: it did not.",
            ["method", "code"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._gauges = _Gauges()
        self.registry.register(self._gauges)
        ProcessCollector(registry=self.registry)
        Info("hpi_operator_build", "Release of the operator.", registry=self.registry).info({"version": _version()})

    def passed(self, kind: str, seconds: float, writes: int, refusals: Iterable[str] = ()) -> None:
        """Count a pass."""
        self._passes.labels(kind).observe(seconds)
        if writes:
            self._writes.labels(kind).inc(writes)
        for reason in refusals:
            self._refusals.labels(kind, reason).inc()

    def failed(self, kind: str, cause: str) -> None:
        """Count a pass that failed."""
        self._failures.labels(kind, cause).inc()

    def sent(self, method: str, code: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, str(code)).observe(seconds)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a value that is read when it is asked for."""
        self._gauges.add(name, text, "", lambda: {"": value()})

    def gauges(self, name: str, text: str, label: str, values: Values) -> None:
        """Show values that are read when they are asked for, one for each value of a label."""
        self._gauges.add(name, text, label, values)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


def _version() -> str:
    try:
        return version("hpi")
    except PackageNotFoundError:
        return "unknown"
