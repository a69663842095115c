"""Of two operators one acts; when it ends, however it ends, the other goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

import pytest

from hpi_operator.kube.resources import CHILDREN, DEPLOYMENTS, HPI_NODES, LEASES
from hpi_operator.rights import LEASE
from support.api_proxy import ApiProxy
from support.audit import WRITES, AuditLog, Call, now, told
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.control_plane.namespaces import make_namespace
from support.eventually import eventually
from support.objects import serve_kinds
from support.operated import Site
from support.operators import NAMESPACE, USER, OperatorProcess, install_operator

NUMBERS: Final = count(1)
LEASE_SECONDS: Final = 10
PACE: Final = ("--lease-seconds", str(LEASE_SECONDS))


@dataclass
class Two:
    """A cluster for two operators, neither of which runs yet."""

    site: Site
    log: AuditLog

    def operator(self, name: str, proxy: ApiProxy | None = None) -> OperatorProcess:
        """Return an operator that a test starts."""
        kubeconfig = None if proxy is None else proxy.kubeconfig
        return OperatorProcess(self.site.cluster, *PACE, name=name, kubeconfig=kubeconfig)

    def writes(self, since: object) -> list[Call]:
        """Return what operators wrote since then, the Lease left out."""
        calls = self.log.writes(user=USER, since=since)  # type: ignore[arg-type]
        return [call for call in calls if not call.resource.startswith("leases")]

    def holder(self) -> str:
        """Return who holds the Lease."""
        lease = self.site.find(LEASES, NAMESPACE, LEASE)
        holder: str = "" if lease is None else lease["spec"]["holderIdentity"]
        return holder


@pytest.fixture(scope="module")
def two(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """A cluster of this module alone."""
    with ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path_factory.mktemp("election")) as cluster:
        serve_kinds(cluster)
        install_operator(cluster)
        with Site(cluster) as site:
            yield Two(site, AuditLog(cluster))


@pytest.fixture
def own(two: Two) -> str:
    """A namespace of the test's own."""
    return make_namespace(two.site.cluster, f"two-{next(NUMBERS)}")


def test_a_leader_that_is_killed_is_followed_within_one_lease_and_nothing_is_applied_twice_with_a_difference(
    two: Two, own: str
) -> None:
    with two.operator("one") as one, two.operator("two") as other:
        eventually(lambda: one.metric("hpi_operator_leader") + other.metric("hpi_operator_leader") == 1)
        leader, follower = (one, other) if one.metric("hpi_operator_leader") == 1 else (other, one)
        leader.wait_until_whole()
        two.site.wait_until_usable()
        first = two.holder()
        for number in range(6):
            two.site.create(own, f"ocr-{number}", replicas=1)
        # In the middle of it: some have their Deployments, none has everything.
        eventually(lambda: len(two.site.client.items(DEPLOYMENTS.path(own))[0]) >= 2, pause_seconds=0.005)

        leader.kill()
        killed_at, begun = time.monotonic(), now()

        eventually(lambda: follower.metric("hpi_operator_leader") == 1)
        taken_over = time.monotonic() - killed_at
        for number in range(6):
            two.site.serves(own, f"ocr-{number}")
        follower.wait_until_idle()
        assert two.holder() not in ("", first)

    assert taken_over <= LEASE_SECONDS
    deployments, _ = two.site.client.items(DEPLOYMENTS.path(own))
    assert {one["metadata"]["generation"] for one in deployments} == {1}
    # What the first had written, the second wrote no more.
    by_object = [(call.resource, call.namespace, call.name) for call in two.log.writes(user=USER) if call.code == 201]
    assert len(by_object) == len(set(by_object)), told(two.writes(begun), "verb", "resource", "name", "code")


def test_a_leader_that_is_stopped_gives_the_lease_back(two: Two) -> None:
    with two.operator("one") as one:
        one.wait_until_whole()
        with two.operator("two") as other:
            eventually(lambda: other.probe("/readyz")[0] == 200)

            code = one.stop()
            stopped_at = time.monotonic()
            other.wait_until_leading()

            assert time.monotonic() - stopped_at < LEASE_SECONDS / 2
            assert code == 0


def test_a_leader_that_reaches_nobody_ends_itself_before_another_acts_and_writes_no_more(two: Two, own: str) -> None:
    with ApiProxy(two.site.cluster, two.site.cluster.client(USER)) as proxy, two.operator("one", proxy) as one:
        one.wait_until_whole()
        two.site.wait_until_usable()
        with two.operator("two") as other:
            eventually(lambda: other.probe("/readyz")[0] == 200)

            proxy.hold()
            two.site.create(own, "ocr")
            ended = eventually(lambda: one.process.exit_code is not None and (one.process.exit_code, time.monotonic()))
            assert ended
            code, ended_at = ended
            other.wait_until_leading()
            led_at = time.monotonic()
            begun = now()
            proxy.resume()
            two.site.serves(own, "ocr")
            other.wait_until_idle()

    assert code == 1
    assert ended_at <= led_at
    assert one.lines("leadership is lost") != []
    deployment = two.site.there(DEPLOYMENTS, own, "ocr-cpu")
    assert deployment["metadata"]["generation"] == 1, told(two.writes(begun), "verb", "resource", "name", "code")


def test_an_operator_that_finds_everything_as_it_should_be_writes_nothing(two: Two, own: str) -> None:
    with two.operator("one") as one:
        one.wait_until_whole()
        two.site.wait_until_usable()
        two.site.create(own, "ocr", replicas=2)
        two.site.create(own, "routed", route={"parentRefs": [{"name": "gateway"}]})
        two.site.create(own, "poor", placement={"accelerators": [{"class": "NVIDIA"}]})
        two.site.create(own, "scaled", autoscaling={"minReplicas": 1, "maxReplicas": 3})
        two.site.serves(own, "ocr")
        two.site.serves(own, "scaled")
        two.site.wait(own, "poor", "Placed", "False")
        one.wait_until_idle()
        one.stop()
        begun = now()

        one.start().wait_until_idle()

        assert two.writes(begun) == [], told(two.writes(begun), "verb", "resource", "name")


@pytest.mark.slow
def test_an_idle_operator_writes_nothing_but_its_lease(two: Two, own: str) -> None:
    with two.operator("one") as one:
        one.wait_until_whole()
        two.site.create(own, "ocr", replicas=2)
        two.site.serves(own, "ocr")
        one.wait_until_idle()
        begun = now()

        time.sleep(60.0)

        assert two.writes(begun) == [], told(two.writes(begun), "verb", "resource", "name")
        assert two.log.writes(user=USER, since=begun) != []


def test_nothing_hangs_on_an_operator_that_is_gone(two: Two, own: str) -> None:
    with two.operator("one") as one:
        one.wait_until_whole()
        two.site.create(own, "ocr", replicas=0)
        two.site.create(own, "kept", replicas=0)
        two.site.wait(own, "ocr", "Available", "True")
        two.site.wait(own, "kept", "Available", "True")
        one.stop()
    everything = [one for kind in CHILDREN for one in two.site.children(kind, own, "kept").values()]
    everything += two.site.client.items(HPI_NODES.path())[0]

    gone = two.site.cluster.kubectl("delete", "hpi", "ocr", "-n", own, "--wait", "--timeout=30s")
    eventually(lambda: two.site.children(DEPLOYMENTS, own, "ocr") == {})
    namespace = two.site.cluster.kubectl("delete", "namespace", own, "--wait", "--timeout=60s")

    assert (gone.exit_code, namespace.exit_code) == (0, 0), gone.error + namespace.error
    assert len(everything) > 6
    assert [one["metadata"]["name"] for one in everything if "finalizers" in one["metadata"]] == []
