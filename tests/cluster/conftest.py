"""A real control plane for every test of this folder; without its programs the tests fail, they are not skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest

from hpi_core.errors import HpiError
from hpi_operator.kube.resources import NAMESPACES
from support.audit import REQUESTS, WRITES
from support.control_plane.binaries import Binaries, find_binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED, QUICK, WHOLE
from support.control_plane.namespaces import make_namespace, remove_namespace
from support.node_agents import AgentSite
from support.objects import Objects, serve_kinds
from support.operated import Site
from support.operators import OperatorProcess, install_operator
from support.policed import Policed

NUMBERS = count(1)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """The programs, built before by `make set-up`."""
    try:
        return find_binaries(os.environ)
    except HpiError as error:
        reason = str(error)
    pytest.fail(f"these tests need the programs of a control plane: {reason}", pytrace=False)


@pytest.fixture(scope="session")
def control_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Etcd and the API server, shared by all tests: each keeps to objects of its own."""
    with ControlPlane(binaries, parent=tmp_path_factory.mktemp("quick")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def whole_control_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With controller manager and scheduler, for what they do; shared as well."""
    with ControlPlane(binaries, WHOLE, parent=tmp_path_factory.mktemp("whole")) as cluster:
        yield cluster


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A namespace of the test's own in `control_plane`; it stays, because nobody there finishes a deletion."""
    return make_namespace(control_plane, f"test-{next(NUMBERS)}")


@pytest.fixture
def whole_namespace(whole_control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own in `whole_control_plane`, deleted afterwards with all that is in it."""
    name = make_namespace(whole_control_plane, f"test-{next(NUMBERS)}")
    yield name
    remove_namespace(whole_control_plane, name)


@pytest.fixture(scope="session")
def played_control_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With nodes and pods that kwok plays, an audit log of every write, and our kinds; shared as well."""
    with ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path_factory.mktemp("played")) as cluster:
        serve_kinds(cluster)
        yield cluster


@pytest.fixture
def played_namespace(played_control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own in `played_control_plane`, deleted afterwards with all that is in it."""
    name = make_namespace(played_control_plane, f"test-{next(NUMBERS)}")
    yield name
    remove_namespace(played_control_plane, name)


@pytest.fixture(scope="session")
def kinds_served(control_plane: ControlPlane) -> ControlPlane:
    """`control_plane`, which serves our kinds."""
    serve_kinds(control_plane)
    return control_plane


@pytest.fixture
def objects(kinds_served: ControlPlane, namespace: str) -> Iterator[Objects]:
    """Objects of our kinds in a namespace of the test's own; those without a namespace are everybody's."""
    with Objects(kinds_served, namespace) as kept:
        yield kept


@pytest.fixture(scope="session")
def dry_objects(kinds_served: ControlPlane) -> Iterator[Objects]:
    """For tests that let the server check and keep nothing."""
    assert kinds_served.kubectl("create", "namespace", "dry").exit_code == 0
    with Objects(kinds_served, "dry") as checked:
        yield checked


@pytest.fixture(scope="session")
def operated(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster with nodes, agents and an operator that runs; shared: each test keeps to a namespace of its own."""
    with ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path_factory.mktemp("operated")) as cluster:
        serve_kinds(cluster)
        install_operator(cluster)
        with Site(cluster) as site, OperatorProcess(cluster, "--log-level", "debug") as operator:
            operator.wait_until_whole()
            site.wait_until_usable()
            site.operator = operator
            yield site


@pytest.fixture
def own(operated: Site) -> Iterator[str]:
    """A namespace of the test's own in `operated`, deleted afterwards with all that is in it."""
    name = make_namespace(operated.cluster, f"test-{next(NUMBERS)}")
    yield name
    operated.delete(NAMESPACES, "", name)


@pytest.fixture(scope="session")
def policed(kinds_served: ControlPlane) -> Iterator[Policed]:
    """`control_plane` with the accounts and policies of an installation, two nodes and their agents."""
    with Policed(kinds_served, make_namespace(kinds_served, f"policed-{next(NUMBERS)}")) as cast:
        yield cast


@pytest.fixture(scope="session")
def agent_site(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentSite]:
    """A cluster with an installation's rights and policies and an audit log of every request, for real node agents."""
    folder = tmp_path_factory.mktemp("agents")
    with ControlPlane(binaries, QUICK, audit_policy=REQUESTS, parent=folder) as cluster:
        serve_kinds(cluster)
        with AgentSite(cluster, folder) as site:
            yield site


@pytest.fixture
def agent_namespace(agent_site: AgentSite) -> str:
    """A namespace of the test's own in the cluster of `agent_site`."""
    return make_namespace(agent_site.cluster, f"test-{next(NUMBERS)}")
