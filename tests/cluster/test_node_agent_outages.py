"""Bad days of a real `hpi-agent node`: the API server away, watches that break, silent pods, tokens of other nodes."""

from __future__ import annotations

from functools import partial

import pytest

from hpi_agent.node.access import Access
from hpi_agent.node.api import Api
from hpi_agent.node.api_errors import Answered, Away
from hpi_agent.node.paths import HPI_NODES
from hpi_core.api.base import API_VERSION
from support.api_calls import asks
from support.api_proxy import ApiProxy
from support.audit import AuditLog, now
from support.cluster_client import MERGE
from support.eventually import eventually
from support.installation import INSTALLATION
from support.manifests import Document
from support.node_agents import OWN, AgentSite, NodeAgent, wait, written

MEASURED: Document = {"pipeline": "ocr", "revision": "5d8c7b9f4a", "engineActive": "Measured"}
AWAY_SECONDS = 10.0
SILENT_SECONDS = 180


def pods(site: AgentSite, node: str) -> int:
    """Return how many pods the status counts."""
    return sum(sum(one["engineActive"].values()) for one in site.status(node).get("workloads", []))


def wish(site: AgentSite, node: str, quota_bytes: int) -> None:
    """Change the spec of an HPINode."""
    body = {"spec": {"cacheQuotaBytes": quota_bytes}}
    site.admin.request("PATCH", f"{OWN}/hpinodes/{node}", body, content_type=MERGE)


def keeps_to(site: AgentSite, node: str, quota_bytes: int) -> bool:
    """Return whether the agent keeps to a quota."""
    return bool(site.status(node)["cache"]["quotaBytes"] == quota_bytes)


def test_the_token_of_an_agent_writes_no_other_nodes_status(agent_site: AgentSite) -> None:
    node, other = agent_site.make_node(), agent_site.make_node()
    cluster = agent_site.cluster
    api = Api(Access(cluster.url, cluster.authority, agent_site.agent_token(node)))
    body = {"apiVersion": API_VERSION, "kind": "HPINode", "metadata": {"name": other}, "status": {"agentVersion": "9"}}

    with pytest.raises(Answered, match=f"the agent of node {node} may not write the status of HPINode {other}"):
        api.apply(f"{HPI_NODES}/{other}/status", body)

    api.close()


def test_an_api_server_that_is_not_there_is_no_refusal(agent_site: AgentSite) -> None:
    token = agent_site.agent_token(agent_site.make_node())
    api = Api(Access("https://127.0.0.1:1", agent_site.cluster.authority, token))

    with pytest.raises(Away, match="does not answer"):
        api.get(f"{HPI_NODES}/a")


def test_a_watch_that_is_cut_or_expires_costs_nothing(agent_site: AgentSite) -> None:
    node = agent_site.make_node(cacheQuotaBytes=10**9)

    with ApiProxy(agent_site.cluster) as proxy, NodeAgent(agent_site, node, url=proxy.url) as agent:
        written(agent_site, node)
        mine = asks("watch", "hpinodes")
        for number, break_watches in enumerate((proxy.cut_watches, proxy.expire_watches), start=2):
            eventually(lambda: proxy.open_watches(mine) == 1)
            assert break_watches(mine) == 1
            wish(agent_site, node, number * 10**9)
            eventually(partial(keeps_to, agent_site, node, number * 10**9))

        # It has never asked for a version that could have been gone.
        assert [call.resource for call in proxy.calls if call.verb == "list"] == []
        assert agent.stop() == 0


@pytest.mark.slow
def test_an_api_server_that_is_away_keeps_nobody_from_reporting(agent_site: AgentSite, agent_namespace: str) -> None:
    node = agent_site.make_node(cacheQuotaBytes=10**9)
    pod = agent_site.serving_pod(agent_namespace, node)

    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        assert agent.ask("POST", "/v1/workload", pod, {**MEASURED, "engineActive": "Building"}).status_code == 204
        eventually(lambda: pods(agent_site, node) == 1)

        agent_site.cluster.stop_api_server(kill=True)
        # Whose token it is was asked a moment ago.
        known = agent.ask("POST", "/v1/workload", pod, MEASURED).status_code
        stranger = agent.ask("POST", "/v1/workload", "a.b.c", MEASURED).status_code
        wait(AWAY_SECONDS)
        agent_site.cluster.start_api_server()

        eventually(lambda: agent_site.status(node)["workloads"][0]["engineActive"]["measured"] == 1, seconds=90)
        wish(agent_site, node, 2 * 10**9)
        eventually(partial(keeps_to, agent_site, node, 2 * 10**9), seconds=90)

    assert (known, stranger) == (204, 401)


@pytest.mark.slow
def test_an_agent_that_starts_while_the_api_server_is_away_answers_pods_and_writes_later(
    agent_site: AgentSite,
) -> None:
    node = agent_site.make_node()
    agent = NodeAgent(agent_site, node)
    agent_site.cluster.stop_api_server(kill=True)
    try:
        with agent:
            told = agent.ask("GET", "/healthz", "nobody").text
            agent_site.cluster.start_api_server()

            assert told == "ok"
            assert written(agent_site, node, seconds=90)["agentVersion"]
    finally:
        if "kube-apiserver" not in agent_site.cluster.pids():
            agent_site.cluster.start_api_server()


@pytest.mark.slow
def test_pods_that_were_counted_before_an_agent_was_killed_are_not_given_up(
    agent_site: AgentSite, agent_namespace: str
) -> None:
    node = agent_site.make_node()
    one, other = (agent_site.serving_pod(agent_namespace, node) for _ in range(2))

    with NodeAgent(agent_site, node) as agent:
        for pod in (one, other):
            agent.ask("POST", "/v1/workload", pod, MEASURED)
        eventually(lambda: pods(agent_site, node) == 2)
        agent.kill()
        begun = now()
        agent.start()
        agent.ask("POST", "/v1/workload", one, MEASURED)
        wait(5.0)

        assert pods(agent_site, node) == 2
        assert AuditLog(agent_site.cluster).writes(user=INSTALLATION.agent.user, since=begun) == []


@pytest.mark.slow
def test_pods_that_fall_silent_are_forgotten(agent_site: AgentSite, agent_namespace: str) -> None:
    node = agent_site.make_node()
    one, other = (agent_site.serving_pod(agent_namespace, node) for _ in range(2))

    with NodeAgent(agent_site, node) as agent:
        for pod in (one, other):
            agent.ask("POST", "/v1/workload", pod, MEASURED)
        eventually(lambda: pods(agent_site, node) == 2)
        wait(SILENT_SECONDS - 60)
        agent.ask("POST", "/v1/workload", other, MEASURED)
        assert pods(agent_site, node) == 2

        eventually(lambda: pods(agent_site, node) == 1, seconds=90)
