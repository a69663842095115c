"""A picture is whole or not at all, and after anything that can go wrong it becomes what the server has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpi_core.errors import HpiError
from hpi_operator.kube.errors import Away, Expired, Forbidden, NotThere
from hpi_operator.kube.reflector import Reflector
from hpi_operator.kube.resources import SERVICES
from hpi_operator.kube.selections import Selection
from hpi_operator.plan.intent import Manifest, ObjectKey
from support.eventually import eventually
from support.object_server import ALWAYS, ObjectServer

SECONDS: Final = 10.0


class Notebook:
    """What a reflector told, replayed: what its listener believes is there."""

    def __init__(self) -> None:
        self.believed: dict[str, Any] = {}
        self.told = 0

    def changed(self, key: ObjectKey, old: Any, new: Any) -> None:
        assert self.believed.get(key.name) == old, "what was known before is not what was told before"
        self.told += 1
        if new is None:
            del self.believed[key.name]
        else:
            self.believed[key.name] = new


@contextmanager
def reflected(
    server: ObjectServer,
    notebook: Notebook | None = None,
    project: Callable[[Manifest], Any] = lambda one: one["spec"]["value"],
) -> Iterator[Reflector[Any]]:
    quick = threading.Event()
    reflector: Reflector[Any] = Reflector(
        server,  # type: ignore[arg-type]
        Selection(SERVICES),
        project,
        (notebook or Notebook()).changed,
        pause=lambda seconds: quick.wait(0.001),
    )
    reflector.start()
    yield reflector
    reflector.stop()
    reflector.join(SECONDS)


def seen(reflector: Reflector[Any]) -> dict[str, Any]:
    return {key.name: value for key, value in reflector.all().items()}


def test_what_is_there_and_what_happens_later_is_seen() -> None:
    server = ObjectServer()
    for name in "abc":
        server.put(name, 1)

    with reflected(server) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        server.put("b", 2)
        server.delete("c")
        server.put("d", 1)

        eventually(lambda: seen(reflector) == {"a": 1, "b": 2, "d": 1}, SECONDS)


def test_a_list_that_fails_half_way_is_no_list() -> None:
    server, notebook = ObjectServer(), Notebook()
    for name in "abcde":
        server.put(name, 1)
    server.fail_list(Away("the server went away"), after_pages=1)
    held = threading.Event()

    def project(manifest: Manifest) -> Any:
        # The second list stops at its first object, so that there is time to look at what the first one left.
        if server.lists == 2:
            held.wait(SECONDS)
        return manifest["spec"]["value"]

    with reflected(server, notebook, project) as reflector:
        eventually(lambda: server.lists == 2, SECONDS)
        state = (reflector.is_whole, len(reflector), notebook.told, str(reflector.fault))
        held.set()
        assert reflector.wait_until_whole(SECONDS)

    assert state == (False, 0, 0, "the server went away")
    assert sorted(notebook.believed) == list("abcde")


def test_a_list_after_a_gap_that_fails_half_way_takes_nothing_away() -> None:
    server, notebook = ObjectServer(), Notebook()
    for name in "abcde":
        server.put(name, 1)
    held = threading.Event()

    def project(manifest: Manifest) -> Any:
        if server.lists == 3:
            held.wait(SECONDS)
        return manifest["spec"]["value"]

    with reflected(server, notebook, project) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        server.fail_list(Away("the server went away"), after_pages=1)
        server.bookmark()
        server.compact()
        server.bookmark()
        eventually(lambda: server.lists == 3, SECONDS)
        state = (reflector.is_whole, sorted(seen(reflector)))
        held.set()
        assert reflector.wait_until_whole(SECONDS)

    assert state == (False, list("abcde"))
    assert notebook.told == 5


def test_what_went_away_during_a_gap_is_told_once_the_picture_is_whole() -> None:
    server, notebook = ObjectServer(), Notebook()
    for name in "abc":
        server.put(name, 1)

    with reflected(server, notebook) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        server.fail_watch(Expired("too old"))
        server.delete("a")
        server.put("b", 2)
        server.compact()
        server.cut()

        eventually(lambda: notebook.believed == {"b": 2, "c": 1}, SECONDS)
        assert seen(reflector) == {"b": 2, "c": 1}


def test_a_connection_that_breaks_once_is_opened_again_from_where_it_was() -> None:
    server = ObjectServer()
    server.put("a", 1)

    with reflected(server) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        eventually(lambda: server.watches == 1, SECONDS)
        server.fail_watch(Away("connection reset"))
        server.cut()
        eventually(lambda: server.watches == 3, SECONDS)
        server.put("b", 1)

        eventually(lambda: seen(reflector) == {"a": 1, "b": 1}, SECONDS)
        assert server.lists == 1
        assert reflector.is_whole


def test_a_server_that_stays_away_makes_the_picture_incomplete_and_nothing_is_lost() -> None:
    server = ObjectServer()
    server.put("a", 1)

    with reflected(server) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        server.fail_watch(Away("connection refused"), times=ALWAYS)
        server.cut()
        eventually(lambda: not reflector.is_whole, SECONDS)
        fault = str(reflector.fault)
        server.put("a", 2)
        server.mend()

        assert reflector.wait_until_whole(SECONDS)
        eventually(lambda: seen(reflector) == {"a": 2}, SECONDS)
    assert fault == "connection refused"
    assert server.lists == 1


@pytest.mark.parametrize("error", [Forbidden("services is forbidden"), NotThere("the server has no such resource")])
def test_a_right_or_an_api_that_is_missing_is_the_fault_until_it_is_there(error: HpiError) -> None:
    server = ObjectServer()
    server.fail_list(error, times=ALWAYS)

    with reflected(server) as reflector:
        eventually(lambda: reflector.fault is not None, SECONDS)
        fault = reflector.fault
        server.mend()
        assert reflector.wait_until_whole(SECONDS)

    assert fault is error
    assert reflector.fault is None


def test_a_listener_that_fails_is_told_again_of_everything_it_missed() -> None:
    server, notebook = ObjectServer(), Notebook()
    failures = iter([True, False, True])

    class Stumbling(Notebook):
        def changed(self, key: ObjectKey, old: Any, new: Any) -> None:
            if key.name == "b" and next(failures, False):
                raise RuntimeError("a fault of ours")
            notebook.changed(key, old, new)

    server.put("a", 1)
    server.put("b", 1)
    with reflected(server, Stumbling()) as reflector:
        eventually(lambda: notebook.believed == {"a": 1, "b": 1} and reflector.is_whole, SECONDS)
        server.put("b", 2)

        eventually(lambda: notebook.believed == {"a": 1, "b": 2} and reflector.is_whole, SECONDS)


def test_a_version_counts_as_seen_when_the_object_is_there() -> None:
    server = ObjectServer()

    with reflected(server) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        version = str(server.put("a", 1))
        eventually(lambda: reflector.has_seen(version), SECONDS)

        assert seen(reflector) == {"a": 1}
        assert not reflector.has_seen(str(int(version) + 1))


def test_a_bookmark_moves_the_version_on() -> None:
    server = ObjectServer()

    with reflected(server) as reflector:
        assert reflector.wait_until_whole(SECONDS)
        server.bookmark()

        eventually(lambda: reflector.has_seen("2"), SECONDS)


def test_versions_that_are_no_numbers_are_not_waited_for() -> None:
    with reflected(ObjectServer()) as reflector:
        assert reflector.wait_until_whole(SECONDS)

        assert reflector.has_seen("opaque")


def test_stopping_ends_the_thread_though_the_watch_is_silent() -> None:
    server = ObjectServer()

    with reflected(server) as reflector:
        eventually(lambda: server.watches == 1, SECONDS)

    assert not any(thread.name == "watch-services" for thread in threading.enumerate())
    assert reflector.is_whole


@pytest.mark.parametrize(("whole", "broken"), [(True, False), (False, True)])
def test_only_one_of_whole_and_broken_seconds_counts(whole: bool, broken: bool) -> None:
    server = ObjectServer()
    if broken:
        server.fail_list(Away("away"), times=ALWAYS)

    with reflected(server) as reflector:
        eventually(lambda: reflector.is_whole is whole and (whole or reflector.fault is not None), SECONDS)
        eventually(lambda: (reflector.whole_seconds > 0, reflector.broken_seconds > 0) == (whole, broken), SECONDS)


ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from("abcde"), st.integers(0, 3)),
    st.tuples(st.just("delete"), st.sampled_from("abcde")),
    st.tuples(st.sampled_from(["compact", "cut", "bookmark"])),
    st.tuples(st.just("fail_list"), st.integers(0, 2)),
    st.tuples(st.just("fail_watch"), st.sampled_from([Away("away"), Expired("gone"), Forbidden("no")])),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=25))
def test_after_anything_that_can_go_wrong_the_picture_is_what_the_server_has(actions: list[tuple[Any, ...]]) -> None:
    server, notebook = ObjectServer(), Notebook()
    server.put("a", 0)

    with reflected(server, notebook) as reflector:
        for name, *values in actions:
            if name == "fail_list":
                server.fail_list(Away("away"), after_pages=values[0])
            else:
                getattr(server, name)(*values)
        eventually(
            lambda: reflector.is_whole and seen(reflector) == server.values and notebook.believed == server.values,
            SECONDS,
        )
