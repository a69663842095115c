"""`hpi-agent node` on a real API server, with a pod's token and the installation's rights: what it says of its node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpi_agent.discovery import detect
from hpi_agent.node.hardware import hardware
from hpi_core.api.v1alpha1.node import NodeStatus
from support.audit import AuditLog, now, told
from support.eventually import eventually
from support.installation import INSTALLATION
from support.node_agents import OWN, AgentSite, NodeAgent, wait, written

LOCK = "sha256:" + "a" * 64
IDLE_SECONDS = 60.0


def test_the_status_has_the_hardware_of_this_very_machine(agent_site: AgentSite) -> None:
    node = agent_site.make_node(cacheQuotaBytes=10**9)

    with NodeAgent(agent_site, node):
        status = NodeStatus.model_validate(written(agent_site, node))

    assert status.hardware == hardware(detect(Path("/")))
    assert status.hardware.processors.cores > 0
    assert status.cache.quota_bytes == 10**9
    assert sorted((one.type, one.reason) for one in status.conditions) == [
        ("CacheReady", "AsWanted"),
        ("Ready", "NoRuntimeFits"),
    ]


@pytest.mark.slow
def test_an_hpi_node_that_comes_later_is_written_to_as_soon_as_it_is_there(agent_site: AgentSite) -> None:
    node = agent_site.make_node(hpi_node=False)

    with NodeAgent(agent_site, node) as agent:
        eventually(lambda: agent.lines("the HPINode is watched"))
        agent_site.make_hpi_node(node)

        assert written(agent_site, node)["agentVersion"]


def test_an_hpi_node_that_is_replaced_is_written_to_anew(agent_site: AgentSite) -> None:
    node = agent_site.make_node()

    with NodeAgent(agent_site, node):
        written(agent_site, node)
        agent_site.admin.request("DELETE", f"{OWN}/hpinodes/{node}")
        uid = agent_site.make_hpi_node(node)
        status = written(agent_site, node)

    assert status["hardware"]["processors"]["cores"] > 0
    assert agent_site.hpi_node(node)["metadata"]["uid"] == uid


def test_a_change_of_the_spec_is_answered_with_its_generation(agent_site: AgentSite) -> None:
    node = agent_site.make_node()

    with NodeAgent(agent_site, node):
        written(agent_site, node)
        body = {"spec": {"engines": [{"namespace": "a", "name": "e-" + "1" * 40}]}}
        path = f"{OWN}/hpinodes/{node}"
        made = agent_site.admin.request("PATCH", path, body, content_type="application/merge-patch+json")
        generation = made["metadata"]["generation"]
        eventually(lambda: agent_site.status(node)["observedGeneration"] == generation)

    assert agent_site.status(node)["engines"] == [{"namespace": "a", "name": "e-" + "1" * 40, "state": "Absent"}]


@pytest.mark.slow
def test_an_agent_that_finds_everything_said_writes_nothing(agent_site: AgentSite) -> None:
    node = agent_site.make_node()
    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        agent.kill()
        begun = now()

        agent.start()
        eventually(lambda: len(agent.lines("the HPINode is watched")) == 2)
        wait(2.0)

    assert AuditLog(agent_site.cluster).writes(user=INSTALLATION.agent.user, since=begun) == []


def test_the_agent_asks_for_nothing_that_it_has_no_right_to_and_ends_in_order(agent_site: AgentSite) -> None:
    node = agent_site.make_node()
    begun = now()

    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        ended = agent.stop()

    calls = AuditLog(agent_site.cluster).calls(user=INSTALLATION.agent.user, since=begun)
    assert ended == 0
    assert calls
    assert [call for call in calls if call.code in (401, 403)] == [], told(calls, "verb", "resource", "code")


@pytest.mark.slow
def test_an_agent_at_rest_writes_nothing_and_costs_next_to_nothing(agent_site: AgentSite) -> None:
    node = agent_site.make_node(cacheQuotaBytes=10**9)
    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        eventually(lambda: agent.lines("the status was written"))
        wait(3.0)
        begun, used = now(), agent.cpu_seconds()

        wait(IDLE_SECONDS)
        spent, memory = agent.cpu_seconds() - used, agent.memory_bytes()

    calls = AuditLog(agent_site.cluster).calls(user=INSTALLATION.agent.user, since=begun)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    print(f"{spent / IDLE_SECONDS * 1000:.2f} millicores, {memory / 1e6:.1f} MB, {len(calls)} requests")
    assert [call for call in calls if call.is_write] == []
    # The kernel counts in ticks of 10 ms.
    assert spent <= IDLE_SECONDS / 1000 + tick
    assert memory <= 80e6
