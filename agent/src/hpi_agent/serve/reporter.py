"""What a server tells the agent of its node: what it serves, when that changes and once a minute; and what it built.

The server never waits for it. While the agent is away everything goes on; what it missed it is told when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import ValidationError

from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.client import ONCE, AgentClient
from hpi_agent.exchange.connection import AgentFull, AgentRefuses
from hpi_agent.exchange.pull import pull_decision
from hpi_agent.exchange.push import deliver
from hpi_agent.exchange.reports import MAX_WORKLOAD_ENGINES, WorkloadReport
from hpi_agent.select.decision import Timing, read_decision
from hpi_agent.serve.engine_active import active_of, engine_active
from hpi_agent.store.directory import Store
from hpi_core.api.v1alpha1.node import MAX_MODELS_OF_A_WORKLOAD
from hpi_core.errors import HpiError, Refused, Retry
from hpi_core.moments import stamp
from hpi_core.names import ENV_AGENT, ENV_REVISION

REPORT_SECONDS: Final = 60.0
"""The agent forgets a pod that it has not heard of for three times as long."""
AWAY_SECONDS: Final = 10.0
"""How soon an agent that was away is asked again."""
LEAVE_SECONDS: Final = 2.0

T = TypeVar("T")

State = Literal["Unknown", "Answers", "Away", "Refuses", "Full"]
"""Unknown: nothing was asked yet. Full: it answers, and its volume has no room for what was built here."""

log: Final = logging.getLogger("hpi.server")


@dataclass(frozen=True)
class Reporting:
    """Whom a server reports to, and as what."""

    address: AgentAddress
    pipeline: str
    revision: str
    store: Path
    takes: bool
    """Whether decisions that others make are taken from the node's cache."""

    @classmethod
    def read(cls, environment: Mapping[str, str], pipeline: str, store: Path, *, takes: bool) -> Reporting | None:
        """Return what the environment says, or None: there is no agent.

        Args:
            environment: Of this process.
            pipeline: Name of the pipeline.
            store: Of this pod.
            takes: Whether decisions that others make are taken from the node's cache.

        Raises:
            Refused: It says half of it.
        """
        address = AgentAddress.read(environment)
        if address is None:
            return None
        revision = environment.get(ENV_REVISION, "")
        if not revision:
            raise Refused(f"${ENV_AGENT} is set and ${ENV_REVISION} is not; name the revision of the pipeline")
        return cls(address, pipeline, revision, store, takes)


@dataclass
class Reporter:
    """Speaks to one agent for one server.

    Attributes:
        reporting: To whom, and as what.
        changed: Is told when the agent answers otherwise than before.
        count: Is told of each report, with `ok` or `failed`.
        report_seconds: Between two reports that say the same.
        away_seconds: Between two tries while it is away.
    """

    reporting: Reporting
    changed: Callable[[dict[str, Any]], None] = lambda _: None
    count: Callable[[str], None] = lambda _: None
    report_seconds: float = REPORT_SECONDS
    away_seconds: float = AWAY_SECONDS
    state: State = "Unknown"
    message: str = ""
    since: str = ""
    _description: dict[str, Any] | None = None
    _is_building: bool = False
    _delivered: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        # Asked again every few seconds anyhow: a retry inside would only make those pauses uneven.
        self._client = AgentClient(self.reporting.address, ONCE)
        self._store = Store(self.reporting.store)

    def show(self, description: dict[str, Any], *, is_building: bool) -> None:
        """Take what the worker says of itself; it is reported at once where it changes anything."""
        self._description = description
        self._is_building = is_building
        self._news.set()

    def built(self) -> None:
        """Take that the builder has ended."""
        self._is_building = False
        self._news.set()

    def describe(self) -> dict[str, Any]:
        """Return what `/engines` says of the agent."""
        return {
            "address": str(self.reporting.address),
            "state": self.state,
            "message": self.message,
            "since": self.since,
        }

    async def run(self) -> None:
        """Report until it is cancelled."""
        told: WorkloadReport | None = None
        while True:
            self._news.clear()
            report = self._report()
            if report is not None:
                await self._tell(report)
                told = report
            await self._rest(told)

    async def leave(self) -> None:
        """Tell that this pod ends, once and in a moment."""
        if self.state in ("Unknown", "Away"):
            return
        try:
            await asyncio.wait_for(_in_thread(self._client.leave), LEAVE_SECONDS)
        except (HpiError, asyncio.TimeoutError) as error:
            log.info("the agent was not told that this pod ends: %s", error)

    async def _rest(self, told: WorkloadReport | None) -> None:
        """Wait for news, or until the agent is to be asked again; what changes nothing is no news."""
        seconds = self.away_seconds if self.state == "Away" else self.report_seconds
        # Pods of one node do not all report in the same second.
        end = asyncio.get_running_loop().time() + seconds * (0.9 + 0.1 * random.random())  # noqa: S311
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except asyncio.TimeoutError:
                return
            self._news.clear()
            if self._report() != told:
                return

    def _report(self) -> WorkloadReport | None:
        if self._description is None:
            return None
        active, message = engine_active(self._description["models"], is_building=self._is_building)
        try:
            return WorkloadReport.model_validate(
                {
                    "pipeline": self.reporting.pipeline,
                    "revision": self.reporting.revision,
                    "engineActive": active,
                    "message": message,
                    "engines": self._asked(),
                    "backends": sorted({model["backend"] for model in self._description["models"]}),
                    "models": [self._served(model) for model in self._description["models"]][:MAX_MODELS_OF_A_WORKLOAD],
                }
            )
        except ValidationError as error:
            self._become("Refuses", f"what this pod serves cannot be reported: {error}")
            return None

    def _served(self, model: Mapping[str, Any]) -> dict[str, Any]:
        told = {name: model[name] for name in ("name", "backend", "precision")}
        told["state"] = active_of(str(model["state"]), is_building=self._is_building)
        timing = self._timing(model)
        if timing is not None:
            told |= {"p50Microseconds": timing.p50_microseconds, "p99Microseconds": timing.p99_microseconds}
        return told

    def _timing(self, model: Mapping[str, Any]) -> Timing | None:
        """Return how fast an engine was when it was chosen; None: it was not, or the store does not say any more."""
        try:
            written = self._store.read_decision(model["decisionKey"]) if model.get("decisionKey") else None
            chosen = None if written is None else read_decision(written).chosen
        except HpiError:
            # Of another release, or out of reach: whoever loads engines from the store says why.
            return None
        return chosen.timing if chosen is not None and chosen.engine_key == model["engineKey"] else None

    def _asked(self) -> list[dict[str, Any]]:
        found = {one["key"]: one for one in (self._description or {}).get("resolutions", ())}
        return list(found.values())[:MAX_WORKLOAD_ENGINES]

    async def _tell(self, report: WorkloadReport) -> None:
        try:
            await _in_thread(self._client.report, report)
        except Retry as error:
            self.count("failed")
            self._become("Away", str(error))
            return
        except Refused as error:
            self.count("failed")
            self._become("Refuses", str(error))
            return
        self.count("ok")
        await self._exchange()

    async def _exchange(self) -> None:
        """Send what was built here while the agent was away, and take what others have decided meanwhile."""
        try:
            for key in self._decided():
                if key not in self._delivered:
                    await _in_thread(deliver, self._client, self._store, key)
                    self._delivered.add(key)
            for key in self._undecided():
                # The change-over of the worker sees it in the store.
                await _in_thread(pull_decision, self._client, self._store, key)
        except AgentFull as error:
            self._become("Full", str(error))
        except Retry as error:
            self._become("Away", str(error))
        except (AgentRefuses, HpiError) as error:
            # It answers; what it does not take is built again by those who need it.
            self._become("Answers", f"not all engines could be sent or taken: {error}")
        else:
            self._become("Answers", "")

    def _decided(self) -> list[str]:
        models = (self._description or {}).get("models", ())
        return [one["decisionKey"] for one in models if one["state"] == "Measured" and one.get("decisionKey")]

    def _undecided(self) -> list[str]:
        """Return the models' decisions that this pod has not: a final one that it has is never replaced."""
        if not self.reporting.takes or self._description is None or self._description.get("cautious"):
            return []
        keys = [one["decisionKey"] for one in self._description["models"] if one["state"] != "Measured"]
        return [key for key in keys if key and not self._is_final(key)]

    def _is_final(self, key: str) -> bool:
        known = self._store.read_decision(key)
        return known is not None and known.get("provisional") is None

    def _become(self, state: State, message: str) -> None:
        if (state, message) == (self.state, self.message):
            return
        is_news = state != self.state
        self.state, self.message = state, message
        if not is_news:
            return
        self.since = stamp(datetime.now(timezone.utc))
        level = logging.INFO if state == "Answers" else logging.WARNING
        log.log(level, "the agent %s: %s %s", self.reporting.address, state, message)
        self.changed(self.describe())


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run what blocks in a thread that the end of the process does not wait for: an agent may hang."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except BaseException as raised:
            error = raised
        # The loop may have ended meanwhile; then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="agent", daemon=True).start()
    return await done
