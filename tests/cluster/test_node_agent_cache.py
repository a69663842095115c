"""The node's cache through a real `hpi-agent node`: what a pod brings, who may have it, and what goes by quota."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentFull
from hpi_agent.exchange.limits import DEFAULT_LIMITS
from hpi_agent.exchange.push import push_entry
from hpi_agent.node.reporter import SETTLE_SECONDS
from hpi_agent.store.directory import Store
from support.audit import AuditLog, counted, now
from support.cluster_client import MERGE
from support.eventually import eventually
from support.installation import INSTALLATION
from support.kinds import manifest
from support.manifests import Document
from support.node_agents import OWN, AgentSite, NodeAgent, written
from support.small_volume import a_small_volume

KEY, OTHER_KEY = "sha256:" + "5" * 64, "sha256:" + "6" * 64
SIZE = 300_000
QUOTA = 10**6
USUAL_QUOTA = 100 * 2**30
BLOBS = 4
SMALL_VOLUME_BYTES = DEFAULT_LIMITS.free_bytes + 2**22


def client_of(agent: NodeAgent, token: str, folder: Path) -> AgentClient:
    """Return the client of a pod."""
    file = folder / f"token-{len(list(folder.iterdir()))}"
    file.write_text(token, encoding="ascii")
    return AgentClient(AgentAddress("127.0.0.1", agent.port, file))


def an_engine_in(store: Store, key: str, size: int = SIZE, blobs: int = 1) -> None:
    """Build an engine in a pod's own store."""

    def write(directory: Path) -> None:
        for number in range(blobs):
            (directory / f"engine-{number}.bin").write_bytes(bytes([number + 1]) * size)

    store.publish("engines", key, write)


def states(site: AgentSite, node: str) -> list[str]:
    """Return the states of the wanted engines."""
    return [one["state"] for one in site.status(node)["engines"]]


def test_what_a_pod_brings_is_its_tenants_alone_is_told_and_goes_by_quota(
    agent_site: AgentSite, agent_namespace: str, tmp_path: Path
) -> None:
    node = agent_site.make_node(cacheQuotaBytes=QUOTA)
    engine = manifest("HPIEngine")
    engine["metadata"]["namespace"] = agent_namespace
    name = engine["metadata"]["name"]
    path = f"{OWN}/namespaces/{agent_namespace}/hpiengines"
    agent_site.admin.request("POST", path, engine)
    artifact = {"key": KEY, "digest": OTHER_KEY, "bytes": SIZE}
    decided = {"status": {"chosen": "o", "quality": "Measured", "artifact": artifact}}
    agent_site.admin.request("PATCH", f"{path}/{name}/status", decided, content_type=MERGE)
    store = Store(tmp_path / "store")
    an_engine_in(store, KEY)
    an_engine_in(store, OTHER_KEY)

    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        wish = {"spec": {"engines": [{"namespace": agent_namespace, "name": name}]}}
        agent_site.admin.request("PATCH", f"{OWN}/hpinodes/{node}", wish, content_type=MERGE)
        eventually(lambda: states(agent_site, node) == ["Absent"])

        pod = client_of(agent, agent_site.serving_pod(agent_namespace, node), tmp_path)
        stranger = client_of(agent, agent_site.serving_pod("default", node), tmp_path)
        push_entry(pod, store, "engines", OTHER_KEY)
        push_entry(pod, store, "engines", KEY)
        assert pod.listing("engines", KEY) is not None
        assert stranger.listing("engines", KEY) is None

        eventually(lambda: states(agent_site, node) == ["Cached"])
        cache = agent_site.status(node)["cache"]
        assert cache == {"quotaBytes": QUOTA, "usedBytes": 2 * SIZE, "entries": 2}

        # The wanted one stays, though it was used earlier than the other one.
        pod.listing("engines", OTHER_KEY)
        less = {"spec": {"cacheQuotaBytes": QUOTA // 2}}
        agent_site.admin.request("PATCH", f"{OWN}/hpinodes/{node}", less, content_type=MERGE)
        eventually(lambda: agent_site.status(node)["cache"]["entries"] == 1)
        assert states(agent_site, node) == ["Cached"]
        assert pod.listing("engines", OTHER_KEY) is None


def test_after_a_pod_has_pushed_an_engine_the_status_tells_its_bytes_however_large_the_quota_is(
    agent_site: AgentSite, agent_namespace: str, tmp_path: Path
) -> None:
    node = agent_site.make_node(cacheQuotaBytes=USUAL_QUOTA)
    store = Store(tmp_path / "store")
    an_engine_in(store, KEY)

    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        pod = client_of(agent, agent_site.serving_pod(agent_namespace, node), tmp_path)
        push_entry(pod, store, "engines", KEY)

        eventually(lambda: agent_site.status(node)["cache"]["entries"] == 1)
        assert agent_site.status(node)["cache"]["usedBytes"] == SIZE


def test_a_burst_of_pushes_is_no_more_writes_than_the_reporter_has_turns(
    agent_site: AgentSite, agent_namespace: str, tmp_path: Path
) -> None:
    node = agent_site.make_node(cacheQuotaBytes=USUAL_QUOTA)
    store = Store(tmp_path / "store")
    keys = [f"sha256:{number:064x}" for number in range(9)]
    for key in keys:
        an_engine_in(store, key, blobs=BLOBS)

    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        pods = [client_of(agent, agent_site.serving_pod(agent_namespace, node), tmp_path) for _ in range(3)]
        begun, begun_at = now(), time.monotonic()
        for number, key in enumerate(keys):
            push_entry(pods[number % len(pods)], store, "engines", key)
        eventually(lambda: agent_site.status(node)["cache"]["entries"] == len(keys))
        ended, seconds = now(), time.monotonic() - begun_at

    calls = AuditLog(agent_site.cluster).writes(user=INSTALLATION.agent.user, since=begun, until=ended)
    writes = [call for call in calls if call.name == node and call.resource.startswith("hpinodes.")]
    assert 1 <= len(writes) <= 1 + seconds / SETTLE_SECONDS, counted(calls, "verb", "resource", "name")


@pytest.mark.slow
def test_a_volume_without_room_is_a_condition_and_one_event_until_somebody_makes_room(
    agent_site: AgentSite, agent_namespace: str, tmp_path: Path
) -> None:
    node = agent_site.make_node(cacheQuotaBytes=10**9)
    store = Store(tmp_path / "store")
    an_engine_in(store, KEY)
    an_engine_in(store, OTHER_KEY, SMALL_VOLUME_BYTES - DEFAULT_LIMITS.free_bytes)
    volume = agent_site.folder / f"store-{node}"

    with NodeAgent(agent_site, node, within=a_small_volume(volume, SMALL_VOLUME_BYTES)) as agent:
        pod = client_of(agent, agent_site.serving_pod(agent_namespace, node), tmp_path)
        push_entry(pod, store, "engines", KEY)
        assert cache_ready(agent_site, node)["status"] == "True"
        for _ in range(2):
            with pytest.raises(AgentFull):
                push_entry(pod, store, "engines", OTHER_KEY)
            full = eventually(lambda: told(cache_ready(agent_site, node), "CacheFull"))
        assert f"the store {volume} cannot be used: No space left on device" in full["message"]
        assert "make room there" in full["message"]
        assert full["status"] == "False"
        # What is there is served on.
        assert pod.listing("engines", KEY) is not None

        larger = f"remount,size={4 * SMALL_VOLUME_BYTES}"
        enter = ["nsenter", "--target", str(agent.pid), "--mount"]
        subprocess.run([*enter, "mount", "-o", larger, str(volume)], check=True)

        eventually(lambda: told(cache_ready(agent_site, node), "AsWanted"))
        push_entry(pod, store, "engines", OTHER_KEY)
    events = agent_site.admin.items("/apis/events.k8s.io/v1/namespaces/default/events")[0]
    about = [one for one in events if one["regarding"]["name"] == node and one["reason"] in ("CacheFull", "AsWanted")]
    assert sorted((one["reason"], one["type"]) for one in about) == [("AsWanted", "Normal"), ("CacheFull", "Warning")]


def cache_ready(site: AgentSite, node: str) -> Document:
    """Return the condition CacheReady of a node, as soon as there is one."""

    def look() -> Document | None:
        conditions = site.status(node).get("conditions", ())
        return next((one for one in conditions if one["type"] == "CacheReady"), None)

    found = eventually(look)
    assert found is not None
    return found


def told(condition: Document, reason: str) -> Document:
    """Return a condition whose reason must be this one."""
    assert condition["reason"] == reason, condition
    return condition
