"""What pods tell the agent, taken or refused."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Final

from hpi_agent.exchange.answers import NotYours
from hpi_agent.exchange.reports import SelfTestReport, WorkloadReport
from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.node.api import Document
from hpi_agent.node.api_errors import Away
from hpi_agent.node.engines import Engines
from hpi_agent.node.self_tests import Result, check_reporter, result_of
from hpi_agent.node.status import read_spec
from hpi_agent.node.workloads import Told, Workloads
from hpi_core.errors import HpiError, Refused, Retry
from hpi_core.moments import stamp

log: Final = logging.getLogger(__name__)

ON_RECORD_SECONDS: Final = 20.0
"""How long a self-test waits for its result to stand in the HPINode; then it tells it again."""


class PodReports:
    """The words of a node's pods; safe from several threads."""

    def __init__(
        self,
        engines: Engines,
        hpi_node: Callable[[], Document | None],
        operator_namespace: str,
        changed: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Begin with none.

        Args:
            engines: Finds the HPIEngines that pods speak of.
            hpi_node: Returns the HPINode as it is.
            operator_namespace: Where self-test pods run.
            changed: Told of news.
            clock: Seconds that never go back.
            now: The time.
        """
        self.workloads: Final = Workloads()
        self._engines = engines
        self._hpi_node = hpi_node
        self._operator_namespace = operator_namespace
        self._changed = changed
        self._clock = clock
        self._now = now
        self._on_record = threading.Condition()
        self._results: dict[str, Result] = {}
        self._recorded: dict[str, Result] = {}

    @property
    def results(self) -> dict[str, Result]:
        """Results of self-tests since this agent began, by runtime."""
        with self._on_record:
            return dict(self._results)

    def recorded(self, results: dict[str, Result]) -> None:
        """Take results that stand in the HPINode now."""
        with self._on_record:
            self._recorded.update(results)
            self._on_record.notify_all()

    def drop(self, runtimes: Iterable[str]) -> None:
        """Forget results of runtimes that are made anew: what was tested is not there any more."""
        with self._on_record:
            for name in runtimes:
                self._results.pop(name, None)
                self._recorded.pop(name, None)

    def take(self, who: PodIdentity, report: WorkloadReport) -> None:
        """Remember what a pod serves. It is forgotten three minutes after its last word.

        Raises:
            NotYours: It speaks of another pipeline than its account's.
            Overloaded: More pods speak than a node can have.
        """
        # The operator makes one account for each pipeline, with the pipeline's name.
        if who.service_account != report.pipeline:
            raise NotYours(
                f"pod {who.namespace}/{who.pod} runs as {who.service_account} and reports on pipeline "
                f"{report.pipeline}: only on the one that its account is named after may it report"
            )
        names = set()
        for asked in report.engines:
            try:
                names.add(self._engines.find(who.namespace, asked))
            except HpiError as error:
                # That it serves is worth more than on what; it tells both again in a minute.
                log.warning("an engine of a pod is not known", extra={"pod": who.pod, "cause": str(error)})
        engines = tuple(sorted(name for name in names if name is not None))
        told = Told(
            who.namespace,
            report.pipeline,
            report.revision,
            report.engine_active,
            report.message,
            engines,
            tuple(sorted(report.backends)),
            tuple(sorted(report.models, key=lambda one: one.name)),
        )
        if self.workloads.take(who.pod_uid, told, self._clock()):
            words = {"namespace": who.namespace, "pod": who.pod, "pipeline": report.pipeline}
            log.info("a pod serves", extra={**words, "engineActive": report.engine_active})
            self._changed()

    def self_tested(self, who: PodIdentity, report: SelfTestReport) -> None:
        """Take how a self-test ended, and return when it is on record: nobody tells it again once the pod has ended.

        Raises:
            NotYours: The pod is no self-test of this node.
            Retry: It is not on record yet.
        """
        hpi_node = self._hpi_node()
        if hpi_node is None:
            raise Away("the HPINode of this node is not known at the moment")
        try:
            check_reporter(who, report, read_spec(hpi_node), self._operator_namespace)
        except Refused as error:
            raise NotYours(str(error)) from error
        result = result_of(report, stamp(self._now()))
        words = {"runtime": report.runtime, "passed": report.passed, "cause": result.message}
        log.log(logging.INFO if report.passed else logging.WARNING, "a self-test has ended", extra=words)
        with self._on_record:
            known = self._results.get(report.runtime)
            if known is not None and known == result_of(report, known.time):
                # The same, told again because the first answer was lost.
                result = known
            self._results[report.runtime] = result
        self._changed()
        with self._on_record:
            there = self._on_record.wait_for(lambda: self._recorded.get(report.runtime) == result, ON_RECORD_SECONDS)
        if not there:
            raise Retry(f"the result of {report.runtime} does not stand in the HPINode yet; tell it again")

    def gone(self, pod_uid: str) -> None:
        """Forget a pod: it has said that it ends."""
        if self.workloads.forget(pod_uid):
            log.info("a pod ends", extra={"podUid": pod_uid})
            self._changed()
