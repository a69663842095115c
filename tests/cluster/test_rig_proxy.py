"""The proxy before the API server does exactly what it is told, and else nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from support.api_calls import asks
from support.api_proxy import ApiProxy
from support.cluster_client import ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.manifests import Document


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[ApiProxy]:
    """A proxy that does nothing wrong yet."""
    with ApiProxy(control_plane, control_plane.client("somebody", ["system:masters"])) as running:
        yield running


@pytest.fixture
def client(control_plane: ControlPlane, proxy: ApiProxy) -> Iterator[ClusterClient]:
    """Somebody, through the proxy."""
    with ClusterClient(control_plane, url=proxy.url) as through:
        yield through


@pytest.fixture
def path(client: ClusterClient, namespace: str) -> str:
    """The path of three ConfigMaps."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for name in ("a", "b", "c"):
        client.request("POST", path, {"metadata": {"name": name}})
    return path


class Watching:
    """One watch in a thread of its own: what came, and how it ended."""

    def __init__(self, client: ClusterClient, path: str) -> None:
        """Begin, from the present version on."""
        self.names: list[str] = []
        self.end: Exception | None = None
        _, self._version = client.items(path)
        self._client, self._path = client, path
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self._client.watch(self._path, self._version, silence_seconds=60):
                self.names.append(event["object"]["metadata"].get("name", ""))
        except (ApiError, httpx2.TransportError) as error:
            self.end = error

    def join(self) -> Exception | None:
        """Wait for its end; return how it ended, None in order."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.end


def watch(proxy: ApiProxy, client: ClusterClient, path: str) -> Watching:
    watching = Watching(client, path)
    eventually(lambda: proxy.open_watches(asks("watch", "configmaps")) == 1)
    return watching


def test_it_changes_nothing_unless_it_is_told_to(
    control_plane: ControlPlane, proxy: ApiProxy, client: ClusterClient, path: str
) -> None:
    direct = json.loads(control_plane.kubectl("get", "--raw", path).output)

    through = json.loads(control_plane.kubectl("get", "--raw", path, user=proxy.client).output)

    assert through == direct
    assert [item["metadata"]["name"] for item in through["items"]] == ["a", "b", "c"]


def test_whoever_connects_speaks_in_the_name_of_its_user(control_plane: ControlPlane, proxy: ApiProxy) -> None:
    answer = control_plane.kubectl("auth", "whoami", "-o", "json", user=proxy.client)

    assert json.loads(answer.output)["status"]["userInfo"]["username"] == "somebody"


def test_a_list_may_fail_at_its_second_page_alone_and_once(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    fault = proxy.answer(asks("list", "configmaps", continued=True), 500, times=1)
    page = client.request("GET", path, query={"limit": "2"})
    rest = {"limit": "2", "continue": page["metadata"]["continue"]}

    with pytest.raises(ApiError) as refused:
        client.request("GET", path, query=rest)

    assert (refused.value.code, refused.value.reason, fault.hits) == (500, "InternalError", 1)
    assert [item["metadata"]["name"] for item in client.request("GET", path, query=rest)["items"]] == ["c"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(409, "Conflict"), (410, "Expired"), (429, "TooManyRequests"), (503, "ServiceUnavailable")],
)
def test_an_error_is_worded_as_the_api_server_words_it(
    proxy: ApiProxy, client: ClusterClient, path: str, status: int, reason: str
) -> None:
    proxy.answer(asks("patch", name="a"), status, retry_after_seconds=7)

    with pytest.raises(ApiError) as refused:
        client.apply(f"{path}/a", {"apiVersion": "v1", "kind": "ConfigMap"}, manager="me")

    assert (refused.value.code, refused.value.reason) == (status, reason)
    client.apply(f"{path}/b", {"apiVersion": "v1", "kind": "ConfigMap"}, manager="me")


def test_a_retry_after_stands_in_header_and_body(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    proxy.answer(asks(), 429, retry_after_seconds=7)

    answer = client._http.get(path)

    assert (answer.headers["Retry-After"], answer.json()["details"]) == ("7", {"retryAfterSeconds": 7})


def test_a_watch_that_is_cut_has_given_what_came_before(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    watching = watch(proxy, client, path)
    client.request("POST", path, {"metadata": {"name": "d"}})
    eventually(lambda: watching.names == ["d"])

    cut = proxy.cut_watches(asks("watch", "configmaps"))

    assert cut == 1
    assert isinstance(watching.join(), httpx2.TransportError)
    assert proxy.open_watches() == 0


def test_a_watch_that_expires_is_told_so_in_its_stream(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    watching = watch(proxy, client, path)

    proxy.expire_watches(asks("watch", "configmaps"))

    end = watching.join()
    assert isinstance(end, ApiError)
    assert (end.code, end.reason) == (410, "Expired")


def test_other_watches_stay_open(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    watching = watch(proxy, client, path)

    cut = proxy.cut_watches(asks("watch", "secrets"))

    client.request("POST", path, {"metadata": {"name": "d"}})
    eventually(lambda: watching.names == ["d"])
    assert cut == 0
    proxy.cut_watches()
    watching.join()


def test_while_it_holds_nothing_is_answered_and_nothing_is_lost(
    control_plane: ControlPlane, proxy: ApiProxy, client: ClusterClient, path: str
) -> None:
    watching = watch(proxy, client, path)
    answers: list[Document] = []
    proxy.hold()
    asking = threading.Thread(target=lambda: answers.append(client.request("GET", f"{path}/a")), daemon=True)
    asking.start()
    with ClusterClient(control_plane) as direct:
        direct.request("POST", path, {"metadata": {"name": "d"}})
        eventually(lambda: any(call.name == "a" and call.verb == "get" for call in proxy.calls))
        asking.join(0.2)

        assert (answers, watching.names) == ([], [])

    proxy.resume()
    asking.join(60)
    assert len(answers) == 1
    eventually(lambda: watching.names == ["d"])
    proxy.cut_watches()
    watching.join()


def test_an_answer_may_be_lost_when_the_work_is_done(
    control_plane: ControlPlane, proxy: ApiProxy, client: ClusterClient, path: str
) -> None:
    proxy.lose_answers(asks("create", "configmaps"), times=1)

    with pytest.raises(httpx2.TransportError):
        client.request("POST", path, {"metadata": {"name": "d"}})

    with ClusterClient(control_plane) as direct:
        assert direct.find(f"{path}/d") is not None


def test_an_answer_may_end_in_the_middle(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    proxy.cut_answers(asks("list", "configmaps"), after_bytes=200, times=1)

    with pytest.raises(httpx2.TransportError):
        client.items(path)

    assert len(client.items(path)[0]) == 3


def test_connections_may_be_refused_until_it_is_mended(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    proxy.refuse()
    for _ in range(2):
        with pytest.raises(httpx2.TransportError):
            client.items(path)

    proxy.mend()

    assert len(client.items(path)[0]) == 3


def test_a_delay_is_waited_for_and_then_the_request_is_done(proxy: ApiProxy, client: ClusterClient, path: str) -> None:
    proxy.delay(asks("get", name="a"), 0.3)
    begun = time.monotonic()

    seen = client.request("GET", f"{path}/a")

    assert time.monotonic() - begun >= 0.3
    assert seen["metadata"]["name"] == "a"


def test_a_server_that_is_away_looks_through_the_proxy_as_it_does_without(
    proxy: ApiProxy, client: ClusterClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(type(proxy._cluster), "url", property(lambda _: "https://127.0.0.1:1"))

    with pytest.raises(httpx2.TransportError):
        client.items(path)
