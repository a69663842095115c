"""Bad days: the API server goes away, forgets, answers halves, has too much to do; nothing is lost or deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from hpi_core.names import PIPELINE
from hpi_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES
from support.api_calls import asks
from support.api_proxy import ApiProxy
from support.audit import WRITES, AuditLog, Call, now, told
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.control_plane.etcd import compact
from support.eventually import eventually
from support.objects import serve_kinds
from support.operated import Site
from support.operators import USER, OperatorProcess, install_operator

NUMBERS: Final = count(1)
MINE: Final = "hpi-operator"


@dataclass
class Bad:
    """A cluster whose operator speaks through a proxy that does wrong on demand."""

    site: Site
    proxy: ApiProxy
    operator: OperatorProcess
    log: AuditLog

    def writes(self, since: object) -> list[Call]:
        """Return what the operator wrote since then, the Lease left out."""
        calls = self.log.writes(user=USER, since=since)  # type: ignore[arg-type]
        return [call for call in calls if not call.resource.startswith("leases")]


@pytest.fixture(scope="module")
def bad(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bad]:
    """A cluster of this module alone."""
    with ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path_factory.mktemp("outages")) as cluster:
        serve_kinds(cluster)
        user = install_operator(cluster)
        with (
            Site(cluster) as site,
            ApiProxy(cluster, user) as proxy,
            # An API server takes long to start where others use the processors; the election is tested elsewhere.
            OperatorProcess(cluster, "--lease-seconds", "180", kubeconfig=proxy.kubeconfig) as operator,
        ):
            operator.wait_until_whole()
            site.wait_until_usable()
            yield Bad(site, proxy, operator, AuditLog(cluster))


@pytest.fixture
def own(bad: Bad) -> Iterator[str]:
    """A namespace of the test's own; whatever the test did wrong is right again afterwards."""
    yield bad.site.make_namespace(f"bad-{next(NUMBERS)}")
    bad.proxy.mend()
    bad.operator.wait_until_idle()


def test_watches_that_expire_are_begun_anew_and_what_happened_meanwhile_is_seen(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr")
    bad.site.serves(own, "ocr")
    bad.operator.wait_until_idle()
    begun = now()

    expired = bad.proxy.expire_watches()
    bad.site.delete(SERVICES, own, "ocr")

    assert expired >= 15
    bad.site.there(SERVICES, own, "ocr")
    bad.operator.wait_until_idle()
    assert {(call.verb, call.resource) for call in bad.writes(begun)} <= {
        ("patch", "services"),
        ("patch", "hpipipelines.hpi.paddlex.io/status"),
    }, told(bad.writes(begun))


def test_watches_that_are_cut_go_on_without_a_list(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr")
    bad.site.serves(own, "ocr")
    bad.operator.wait_until_idle()
    asked = len(bad.proxy.calls)

    bad.proxy.cut_watches(asks("watch", ("services", "deployments", "nodes")))
    bad.site.delete(SERVICES, own, "ocr")
    bad.site.there(SERVICES, own, "ocr")

    lists = [call for call in bad.proxy.calls[asked:] if call.verb == "list" and call.resource != "hpipipelines"]
    assert lists == []


def test_a_list_that_fails_half_way_deletes_nothing(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr")
    bad.site.serves(own, "ocr")
    # A second page: more objects than one has.
    for number in range(210):
        stray = {"metadata": {"name": f"stray-{number}", "labels": {PIPELINE: "nobody"}}}
        bad.site.client.request("POST", CONFIG_MAPS.path(own), stray)
    bad.operator.wait_until_idle()
    begun = now()

    half = bad.proxy.answer(asks("list", "configmaps", continued=True), 500)
    bad.proxy.expire_watches(asks("watch", "configmaps"))
    eventually(lambda: half.hits >= 2)
    missing = bad.operator.metric("hpi_operator_pictures_missing")
    bad.site.scale(own, "ocr-cpu", 3)
    eventually(lambda: half.hits >= 3)
    during = bad.writes(begun)
    bad.proxy.mend()

    assert missing == 1
    assert during == []
    eventually(lambda: bad.site.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 1)
    assert [call for call in bad.writes(begun) if call.verb == "delete"] == []


def test_a_server_with_too_much_to_do_is_left_in_peace_for_as_long_as_it_asks(bad: Bad, own: str) -> None:
    bad.operator.wait_until_idle()
    busy = bad.proxy.answer(asks("patch", "deployments"), 429, times=1, retry_after_seconds=3)

    bad.site.create(own, "ocr")
    eventually(lambda: busy.hits == 1)
    refused_at = now()
    time.sleep(2.0)
    meanwhile = bad.writes(refused_at)

    assert meanwhile == []
    bad.site.serves(own, "ocr")


def test_a_write_whose_answer_is_lost_is_not_done_twice_with_a_difference(bad: Bad, own: str) -> None:
    bad.operator.wait_until_idle()
    lost = bad.proxy.lose_answers(asks("patch", ("deployments", "services", "configmaps")), times=3)

    bad.site.create(own, "ocr")

    bad.site.serves(own, "ocr")
    assert lost.hits == 3
    assert bad.site.there(DEPLOYMENTS, own, "ocr-cpu")["metadata"]["generation"] == 1


def test_conflicts_and_errors_of_single_writes_are_tried_again(bad: Bad, own: str) -> None:
    faults = [bad.proxy.answer(asks("patch", "services"), status, times=1) for status in (409, 500, 503)]

    bad.site.create(own, "ocr")

    bad.site.serves(own, "ocr")
    assert [fault.hits for fault in faults] == [1, 1, 1]


def test_a_missing_right_in_one_pass_stops_no_other(bad: Bad, own: str) -> None:
    bad.proxy.answer(asks("patch", "services", namespace=own, name="poor"), 403)

    bad.site.create(own, "poor")
    bad.site.create(own, "rich")

    bad.site.wait(own, "poor", "Accepted", "False", "PermissionMissing", says=f"Service {own}/poor")
    bad.site.serves(own, "rich")
    assert "poor-cpu" in bad.site.children(DEPLOYMENTS, own, "poor")


@pytest.mark.slow
def test_an_api_server_that_is_away_for_half_a_minute_changes_nothing(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr", replicas=2)
    bad.site.serves(own, "ocr")
    bad.operator.wait_until_idle()
    before = {kind: bad.site.children(kind, own, "ocr") for kind in (DEPLOYMENTS, SERVICES, PODS)}

    bad.site.cluster.stop_api_server(kill=True)
    time.sleep(30.0)
    healthy, _ = bad.operator.probe("/healthz")
    ready, _ = bad.operator.probe("/readyz")
    begun = now()
    bad.site.cluster.start_api_server()
    bad.operator.wait_until_idle()

    assert (healthy, ready) == (200, 503)
    assert [call for call in bad.writes(begun) if own == call.namespace] == []
    after = {kind: bad.site.children(kind, own, "ocr") for kind in (DEPLOYMENTS, SERVICES, PODS)}
    assert {kind: sorted(one) for kind, one in after.items()} == {kind: sorted(one) for kind, one in before.items()}
    bad.site.change(own, "ocr", replicas=3)
    eventually(lambda: bad.site.status(own, "ocr").get("readyReplicas") == 3)


@pytest.mark.slow
def test_a_history_that_was_compacted_away_is_listed_anew(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr")
    bad.site.serves(own, "ocr")
    bad.operator.wait_until_idle()

    bad.proxy.refuse(asks(agent=MINE))
    bad.proxy.cut_watches()
    bad.site.delete(SERVICES, own, "ocr")
    compact(bad.site.cluster)
    bad.site.cluster.stop_api_server()
    bad.site.cluster.start_api_server()
    begun = now()
    bad.proxy.mend()

    bad.site.there(SERVICES, own, "ocr")
    bad.operator.wait_until_idle()
    assert bad.operator.lines("the picture is not whole") != []
    assert [call for call in bad.writes(begun) if call.verb == "delete"] == []


@pytest.mark.slow
def test_a_picture_that_stays_incomplete_is_said_and_the_pipeline_stays_ready(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr")
    bad.site.serves(own, "ocr")
    bad.operator.wait_until_idle()

    bad.proxy.answer(asks("list", "pods"), 500)
    bad.proxy.expire_watches(asks("watch", "pods"))
    said = bad.site.wait(own, "ocr", "Progressing", "Unknown", "WorldIncomplete", says="pods: ", seconds=120.0)
    ready = bad.site.condition(own, "ocr", "Ready")["status"]
    alive, _ = bad.operator.probe("/healthz")
    bad.proxy.mend()

    assert "the proxy of the tests answers 500" in said["message"]
    assert (ready, alive) == ("True", 200)
    bad.site.wait(own, "ocr", "Progressing", "False", "RolloutComplete")


@pytest.mark.slow
def test_connections_that_fall_silent_are_noticed_and_opened_anew(bad: Bad, own: str) -> None:
    bad.site.create(own, "ocr")
    bad.site.serves(own, "ocr")
    bad.operator.wait_until_idle()

    bad.proxy.hold()
    time.sleep(20.0)
    bad.proxy.resume()

    bad.site.delete(SERVICES, own, "ocr")
    bad.site.there(SERVICES, own, "ocr", seconds=120.0)


def test_the_log_of_these_days_names_no_fault_of_ours(bad: Bad) -> None:
    faults = [line for line in bad.operator.lines() if "exception" in line]

    assert faults == []


def test_probes_need_no_leadership(bad: Bad, tmp_path: Path) -> None:
    with OperatorProcess(bad.site.cluster, name="second") as second:
        eventually(lambda: second.probe("/readyz")[0] == 200)
        leads = second.metric("hpi_operator_leader")

    assert leads == 0
