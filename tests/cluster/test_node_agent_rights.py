"""A real `hpi-agent node` without one rule of its role: it names the right, stays up, and goes on once it has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpi_agent.exchange.reports import resolution_name
from hpi_core.names import AGENT_AUDIENCE
from hpi_operator.install.roles import AGENT_RIGHTS
from hpi_operator.install.rules import rules_of
from support.cluster_client import MERGE
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import QUICK
from support.control_plane.namespaces import make_namespace
from support.eventually import eventually
from support.installation import INSTALLATION
from support.kinds import manifest
from support.manifests import Document
from support.node_agents import OWN, AgentSite, NodeAgent
from support.objects import serve_kinds

pytestmark = pytest.mark.slow

ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{INSTALLATION.agent.name}"
KEY = "sha256:" + "5" * 64
SENTENCE = "a right is missing: grant it to the agents' service account"
RULES = rules_of(AGENT_RIGHTS)


def words(rule: Document) -> str:
    return f"{' '.join(rule['verbs'])} {' '.join(rule['resources'])}"


def rights(rule: Document) -> set[str]:
    """Return the rights of a rule as the agent names them."""
    [group] = rule["apiGroups"]
    return {f"{verb} {name}.{group}" for verb in rule["verbs"] for name in rule["resources"]}


@pytest.fixture(scope="module")
def site(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentSite]:
    """A cluster of the module's own, whose role of the agents it may change."""
    folder = tmp_path_factory.mktemp("agent-rights")
    with ControlPlane(binaries, QUICK, parent=folder) as cluster:
        serve_kinds(cluster)
        with AgentSite(cluster, folder) as made:
            yield made


def grant(site: AgentSite, rules: list[Document]) -> None:
    site.admin.request("PATCH", ROLE, {"rules": rules}, content_type=MERGE)


def use_every_right(site: AgentSite, agent: NodeAgent, namespace: str, engine: Document) -> None:
    """Have a pod report and build once more, whatever comes of it."""
    pod = site.serving_pod(namespace, agent.node, audience=AGENT_AUDIENCE)
    names = ("modelName", "modelDigest", "modelFormat", "request", "fallback", "driverMatch", "mode", "accuracy")
    asked = {"key": KEY, **{name: engine["spec"][name] for name in names if name in engine["spec"]}}
    path = f"/v1/resolutions/{resolution_name(KEY)}"
    agent.ask("POST", "/v1/workload", pod, {"pipeline": "ocr", "revision": "5d8c7b9f4a", "engineActive": "Measured"})
    answer = agent.ask("POST", f"{path}/acquire", pod, {**asked, "engines": [engine["metadata"]["name"]]})
    token = answer.json().get("token", 0)
    agent.ask("POST", f"{path}/renew", pod, {"token": token})
    agent.ask("POST", f"{path}/failed", pod, {"token": token, "reason": "NoModel", "message": "it is not there"})


@pytest.mark.parametrize("rule", RULES, ids=words)
def test_an_agent_without_a_rule_names_its_rights_and_stays_up(site: AgentSite, rule: Document) -> None:
    namespace = make_namespace(site.cluster, f"without-{RULES.index(rule)}")
    engine = manifest("HPIEngine")
    engine["metadata"]["namespace"] = namespace
    site.admin.request("POST", f"{OWN}/namespaces/{namespace}/hpiengines", engine)
    named = {"namespace": namespace, "name": engine["metadata"]["name"]}
    node = site.make_node(engines=[named])
    grant(site, [one for one in RULES if one != rule])
    try:
        with NodeAgent(site, node) as agent:

            def names_what_it_lacks() -> bool:
                use_every_right(site, agent, namespace, engine)
                return bool(agent.lines(SENTENCE))

            eventually(names_what_it_lacks)
            assert agent.ask("GET", "/healthz", "nobody").text == "ok"
            grant(site, RULES)

            # It goes on by itself.
            def is_told_all() -> bool:
                use_every_right(site, agent, namespace, engine)
                return bool(site.status(node).get("workloads"))

            eventually(is_told_all)
            assert agent.stop() == 0
            told = [str(line["right"]) for line in agent.lines(SENTENCE)]
    finally:
        grant(site, RULES)
    # Each is told once, and none that it has.
    assert len(told) == len(set(told))
    assert set(told) <= rights(rule)
