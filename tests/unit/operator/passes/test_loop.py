"""Workers go on whatever a pass does, a pass sees what it wrote, and a loop that is stuck says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from hpi_core.errors import Bug
from hpi_operator.act.events import Recorder
from hpi_operator.act.perform import Performer
from hpi_operator.kube.errors import Away, Forbidden
from hpi_operator.kube.resources import SERVICES
from hpi_operator.kube.written import Written
from hpi_operator.observe.world import World
from hpi_operator.passes.base import Ended, Pass, Tools
from hpi_operator.passes.loop import LONGEST_PASS_SECONDS, MAX_SIGHT_SECONDS, STUCK_SECONDS, Loop, Ticker
from hpi_operator.passes.metrics import Metrics
from hpi_operator.passes.queue import Key, WorkQueue
from hpi_operator.plan.observed import Settings
from support.eventually import eventually
from support.object_server import ObjectServer
from support.observed import NOW
from support.written_objects import WrittenObjects

SECONDS: Final = 10.0
KEY: Final = Key("HPIPipeline", "ns", "a")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Site:
    """A loop whose passes are functions of the test."""

    clock: Clock = field(default_factory=Clock)
    passes: list[Key] = field(default_factory=list)
    make: Callable[[Key], Ended] = lambda key: Ended()
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        api = WrittenObjects()
        recorder = Recorder(api)  # type: ignore[arg-type]
        world = World(ObjectServer(), "hpi-system", lambda *what: None, frozenset())  # type: ignore[arg-type]
        self.tools = Tools(
            api=api,  # type: ignore[arg-type]
            world=world,
            queue=WorkQueue(self.clock, spread=lambda: 1.0),
            performer=Performer(api, recorder),  # type: ignore[arg-type]
            recorder=recorder,
            classes={},
            settings=Settings("hpi-system"),
            now=lambda: NOW,
        )

        def note(tools: Tools, key: Key) -> Ended:
            self.passes.append(key)
            return self.make(key)

        kinds: dict[str, Pass] = {"HPIPipeline": note, "Node": note}
        self.loop = Loop(self.tools, self.metrics, 2, passes=kinds, clock=self.clock)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and let those who wait for it know."""
        self.clock.now += seconds
        with self.tools.queue._changed:
            self.tools.queue._changed.notify_all()

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def running(site: Site) -> Iterator[Site]:
    site.loop.start()
    try:
        yield site
    finally:
        assert site.loop.stop(SECONDS)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Away("the server is away"), "Away"),
        (Forbidden("no", "patch services"), "patch services"),
        (Bug("a promise"), "Bug"),
        (RuntimeError("a fault of ours"), "Bug"),
    ],
)
def test_a_pass_that_fails_ends_no_worker_and_is_tried_again(error: Exception, cause: str) -> None:
    site = Site()
    failures = [error]

    def make(key: Key) -> Ended:
        if key == KEY and failures:
            raise failures.pop()
        return Ended()

    site.make = make
    with running(site):
        site.tools.queue.put(KEY)
        eventually(lambda: site.count("hpi_operator_pass_failures_total", kind="HPIPipeline", cause=cause) == 1)
        site.tools.queue.put(Key("HPIPipeline", "ns", "other"))
        eventually(lambda: len(site.passes) == 2)
        site.pass_time(1.0)
        eventually(lambda: site.passes.count(KEY) == 2)


def test_a_server_that_asks_for_a_pause_is_given_it() -> None:
    site = Site()
    site.make = lambda key: (_ for _ in ()).throw(Away("too much to do", 30.0))
    with running(site):
        site.tools.queue.put(KEY)
        eventually(lambda: len(site.passes) == 1 and site.tools.queue.running == 0)
        site.pass_time(29.0)

        assert len(site.tools.queue) == 0

        site.pass_time(1.0)
        eventually(lambda: len(site.passes) == 2)


def test_a_pass_waits_until_the_pictures_show_what_the_last_one_wrote() -> None:
    site = Site()
    server = ObjectServer()
    site.tools.world = World(server, "hpi-system", lambda *what: None, frozenset())  # type: ignore[arg-type]
    picture = site.tools.world.pictures.children[SERVICES]
    picture.start()
    assert picture.wait_until_whole(SECONDS)
    site.make = lambda key: Ended((Written(SERVICES.key("s", "ns"), "2"),)) if len(site.passes) == 1 else Ended()

    with running(site):
        site.tools.queue.put(KEY)
        eventually(lambda: len(site.passes) == 1)
        site.tools.queue.put(KEY)
        for _ in range(20):
            site.pass_time(0.02)
            eventually(lambda: site.tools.queue.running == 0 and len(site.tools.queue) == 0)
        early = len(site.passes)
        server.put("s")

        def has_come() -> bool:
            site.pass_time(0.02)
            return len(site.passes) == 2

        eventually(has_come)
    site.tools.world.pictures.stop()
    picture.join(SECONDS)
    assert early == 1


def test_a_watch_that_never_shows_it_holds_a_pass_up_for_a_while_only() -> None:
    site = Site()
    site.tools.world.shows = lambda written: False  # type: ignore[method-assign]
    site.make = lambda key: Ended((Written(SERVICES.key("s", "ns"), "2"),)) if len(site.passes) == 1 else Ended()

    with running(site):
        site.tools.queue.put(KEY)
        eventually(lambda: len(site.passes) == 1)
        site.tools.queue.put(KEY)
        site.pass_time(MAX_SIGHT_SECONDS + 1)

        eventually(lambda: len(site.passes) == 2)


@pytest.mark.parametrize(("shows", "warnings"), [(True, 0), (False, 1)])
def test_a_late_pass_complains_of_a_watch_only_where_it_does_not_show_what_was_written(
    shows: bool, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    site.tools.world.shows = lambda written: shows  # type: ignore[method-assign]
    site.make = lambda key: Ended((Written(SERVICES.key("s", "ns"), "2"),)) if len(site.passes) == 1 else Ended()

    with running(site):
        site.tools.queue.put(KEY)
        eventually(lambda: len(site.passes) == 1 and site.tools.queue.running == 0)
        site.pass_time(MAX_SIGHT_SECONDS + 1)
        site.tools.queue.put(KEY)
        eventually(lambda: len(site.passes) == 2)

    assert caplog.messages.count("a watch does not show what was written") == warnings


def test_a_pass_of_a_pipeline_counts_for_the_first_round_unless_it_was_postponed() -> None:
    site = Site()
    site.tools.ledger.begin([("ns", "a")])
    site.make = lambda key: Ended(is_postponed=len(site.passes) == 1)

    with running(site):
        site.tools.queue.put(KEY)
        eventually(lambda: len(site.passes) == 1 and site.tools.queue.running == 0)
        postponed = site.tools.ledger.is_complete
        site.tools.queue.put(KEY)
        eventually(lambda: site.tools.ledger.is_complete)

    assert not postponed


def test_a_loop_without_work_is_not_stuck_however_long_it_has_none() -> None:
    site = Site()

    site.pass_time(100_000.0)
    site.tools.queue.put(KEY)
    just_asked = site.loop.stuck
    site.pass_time(STUCK_SECONDS)

    assert (just_asked, site.loop.stuck) == (None, None)


def test_work_that_waits_while_no_pass_ends_is_stuck() -> None:
    site = Site()
    site.tools.queue.put(KEY)

    site.pass_time(STUCK_SECONDS + 1)

    assert site.loop.stuck == "passes wait or run, and none has ended for 181 s"


def test_passes_that_end_are_progress_though_others_wait() -> None:
    site = Site()
    for number in range(1_000):
        site.tools.queue.put(Key("HPIPipeline", "ns", str(number)))

    for _ in range(3):
        site.pass_time(STUCK_SECONDS)
        key = site.tools.queue.take()
        assert key is not None
        site.loop._pass(key)

        assert site.loop.stuck is None


def test_a_pass_that_hangs_is_stuck_though_others_end() -> None:
    site = Site()
    held = threading.Event()
    site.make = lambda key: Ended() if key.name != "hangs" else _hang(held)
    with running(site):
        site.tools.queue.put(Key("HPIPipeline", "ns", "hangs"))
        eventually(lambda: site.passes != [])
        site.pass_time(LONGEST_PASS_SECONDS + 1)
        site.tools.queue.put(KEY)
        eventually(lambda: site.passes[-1] == KEY and site.tools.queue.running == 1)
        stuck = site.loop.stuck
        held.set()

    assert stuck == "a pass has run for 901 s"


def _hang(held: threading.Event) -> Ended:
    held.wait(SECONDS)
    return Ended()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_is_gone_is_told_of() -> None:
    site = Site()
    site.tools.queue.take = lambda timeout_seconds=None: (_ for _ in ()).throw(SystemExit)  # type: ignore[method-assign]
    site.loop.start()

    eventually(lambda: site.loop.stuck == "worker-0, worker-1 ended", SECONDS)


def test_stopping_lets_a_pass_under_way_end() -> None:
    site = Site()
    held = threading.Event()
    site.make = lambda key: _hang(held)
    site.loop.start()
    site.tools.queue.put(KEY)
    eventually(lambda: site.passes == [KEY])

    in_time = site.loop.stop(0.05)
    held.set()

    assert (in_time, site.loop.stop(SECONDS)) == (False, True)


def test_every_node_gets_a_pass_when_all_are_asked_for() -> None:
    site = Site()
    nodes: Any = site.tools.world.pictures.nodes
    for name in ("n1", "n2"):
        nodes._keep(SERVICES.key(name), {})

    with running(site):
        site.tools.queue.put(Key("Node", "", "*"))

        eventually(lambda: sorted(one.name for one in site.passes) == ["n1", "n2"])


def test_what_is_done_from_time_to_time_goes_on_after_a_failure() -> None:
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        raise (Away("away") if len(calls) % 2 else RuntimeError("a fault of ours"))

    ticker = Ticker({0.01: act})
    ticker.start()

    eventually(lambda: len(calls) >= 4, SECONDS)
    ticker.stop()
