"""The operator under exactly the rules of its installation: it asks for nothing more, and needs every one of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from functools import partial

import pytest

from hpi_operator.install.rules import rules_of
from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.rights import Right, missing_rights
from hpi_operator.rights import LEASE, needed_rights, route_rights
from support.audit import REQUESTS, AuditLog, Call
from support.control_plane.binaries import Binaries
from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.eventually import eventually
from support.everything import ROUTE_KIND, Everything
from support.installation import INSTALLATION, bind, install
from support.objects import serve_kinds
from support.operators import OperatorProcess

pytestmark = pytest.mark.slow

RIGHTS = tuple(dict.fromkeys((*needed_rights(INSTALLATION.namespace), *route_rights())))
QUESTIONS = "selfsubjectaccessreviews.authorization.k8s.io"
"""Anybody may ask what he may do."""


def operator_of(cluster: ControlPlane) -> Client:
    """Return the operator's account by a certificate of its name: rules know no difference from its token."""
    namespace = INSTALLATION.namespace
    return cluster.client(INSTALLATION.operator.user, ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"])


@pytest.fixture(scope="module")
def calls(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Call]]:
    """Everything that the operator asked of the API server while everything happened that can."""
    parent = tmp_path_factory.mktemp("rights")
    with ControlPlane(binaries, PLAYED, audit_policy=REQUESTS, parent=parent) as cluster:
        serve_kinds(cluster)
        install(cluster, "rbac", "policies")
        running = OperatorProcess(cluster, kubeconfig=operator_of(cluster).kubeconfig)
        with Everything(cluster) as everything, running as operator:
            operator.wait_until_whole()
            everything.happen()
            operator.wait_until_idle()
            assert operator.metric("hpi_operator_right_missing") == 0
            operator.stop()
        yield AuditLog(cluster).calls(user=INSTALLATION.operator.user)


def asked(call: Call) -> Iterator[tuple[str, str]]:
    """Yield the verbs and resources that a request needs a right on."""
    yield call.verb, call.resource
    if call.verb == "patch" and call.code == 201:
        # Server-side apply of what was not there.
        yield "create", call.resource


def covers(one: Right, verb: str, resource: str, call: Call) -> bool:
    """Return whether a right allows what a request needs."""
    plural, _, subresource = one.resource.partition("/")
    name = plural + (f".{one.group}" if one.group else "") + (f"/{subresource}" if subresource else "")
    return (
        (one.verb, name) == (verb, resource)
        and one.namespace in (None, call.namespace)
        and one.name in (None, call.name)
    )


def test_the_operator_is_refused_nothing(calls: list[Call]) -> None:
    refused = {(call.verb, call.resource, call.namespace, call.name) for call in calls if call.code in (401, 403)}

    assert refused == set()
    assert len(calls) > len(RIGHTS)


def test_every_request_has_a_right_that_is_listed(calls: list[Call]) -> None:
    unlisted = {
        (verb, resource, call.namespace)
        for call in calls
        if call.resource != QUESTIONS
        for verb, resource in asked(call)
        if not any(covers(one, verb, resource, call) for one in RIGHTS)
    }

    assert unlisted == set()


def test_every_right_is_used(calls: list[Call]) -> None:
    needs = [(verb, resource, call) for call in calls for verb, resource in asked(call)]

    unused = [str(one) for one in RIGHTS if not any(covers(one, *need) for need in needs)]

    assert unused == []


@pytest.fixture(scope="module")
def bare(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with our kinds, HTTPRoutes, and the operator's namespace."""
    with ControlPlane(binaries, parent=tmp_path_factory.mktemp("without")) as cluster:
        serve_kinds(cluster)
        install(cluster, "rbac")
        applied = cluster.kubectl("apply", "-f", "-", stdin=json.dumps(ROUTE_KIND))
        assert applied.exit_code == 0, applied.error
        yield cluster


def rules_without_the_lease() -> dict[str, list[Right]]:
    """Return the rights of every rule of the installation, by its words; without its Lease an operator never begins."""
    found: dict[str, list[Right]] = {}
    for place in (None, INSTALLATION.namespace):
        there = [one for one in RIGHTS if one.namespace == place and one.name != LEASE]
        for rule in rules_of(there):
            words = f"{' '.join(rule['verbs'])} on {' '.join(rule['resources'])}"
            granted = set(itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]))
            found[words] = [one for one in there if (one.group, one.resource, one.verb) in granted]
    return found


RULES = rules_without_the_lease()


def test_the_sum_of_all_rules_is_every_right() -> None:
    held = [one for rights in RULES.values() for one in rights]

    assert len(held) == len(set(held)) == sum(one.name != LEASE for one in RIGHTS)


def test_every_single_right_that_is_taken_away_is_named(bare: ControlPlane) -> None:
    client = bare.client("one-less")
    api = Api.connect(Bucket(50, 100), kubeconfig=str(client.kubeconfig))

    for lacking in RIGHTS:
        bind(bare, client.user, [one for one in RIGHTS if one != lacking])

        # Rules reach the memory of the API server a moment later.
        eventually(partial(are_missing, api, [lacking]))


def are_missing(api: Api, lacking: list[Right]) -> bool:
    found = missing_rights(api, RIGHTS)
    assert list(found) == lacking
    return True


@pytest.mark.parametrize("rule", RULES)
def test_an_operator_without_a_rule_names_its_rights_and_stays_up(bare: ControlPlane, rule: str) -> None:
    lacking = RULES[rule]
    name = f"without-rule-{list(RULES).index(rule)}"
    bind(bare, name, [one for one in RIGHTS if one not in lacking])

    with OperatorProcess(bare, name=name, kubeconfig=bare.client(name).kubeconfig) as operator:
        eventually(lambda: said_to_be_missing(operator) == {str(one) for one in lacking})
        status, said = operator.probe("/healthz")
        ended_with = operator.stop()

    assert (status, ended_with) == (200, 0), said


@pytest.mark.parametrize("verb", ["get", "update"])
def test_an_operator_that_may_not_touch_its_lease_says_why_it_does_not_lead(bare: ControlPlane, verb: str) -> None:
    name = f"without-{verb}-of-the-lease"
    bind(bare, name, [one for one in RIGHTS if (one.verb, one.name) != (verb, LEASE)])

    with OperatorProcess(bare, name=name, kubeconfig=bare.client(name).kubeconfig) as operator:
        eventually(lambda: f'cannot {verb} resource \\"leases\\"' in operator.probe("/readyz")[1])
        status, said = operator.probe("/healthz")
        ended_with = operator.stop()

    assert (status, ended_with) == (200, 0), said


def said_to_be_missing(operator: OperatorProcess) -> set[str]:
    """Return the rights that an operator says it lacks; what its metric names, its log must name."""
    by_metric = {key for key, value in operator.metrics().items() if "right_missing{" in key and value == 1}
    by_log = {
        line["right"] for line in operator.lines("a right is missing: grant it to the operator's service account")
    }
    assert by_metric == {f'hpi_operator_right_missing{{right="{one}"}}' for one in by_log}
    return by_log
