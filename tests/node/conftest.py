"""One real node for every test of this folder; where it cannot run the tests fail, they are not skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest

from hpi_core.errors import HpiError
from support.eventually import eventually
from support.node.cluster import NodeCluster
from support.node.programs import NodePrograms, find_programs
from support.node.requirements import require_node
from support.node.workloads import ask

NUMBERS = count(1)


@pytest.fixture(scope="session")
def programs() -> NodePrograms:
    """The programs, built before by `make e2e`."""
    try:
        require_node()
        return find_programs(os.environ, print)
    except HpiError as error:
        reason = str(error)
    pytest.fail(f"these tests need a machine that a Kubernetes node can run on: {reason}", pytrace=False)


@pytest.fixture(scope="session")
def node(programs: NodePrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCluster]:
    """A cluster of one node, shared: each test keeps to a namespace of its own."""
    with NodeCluster(programs, parent=tmp_path_factory.mktemp("node")) as cluster:
        yield cluster


@pytest.fixture
def namespace(node: NodeCluster) -> Iterator[str]:
    """A namespace of the test's own in `node`, deleted afterwards with all that is in it."""
    name = f"test-{next(NUMBERS)}"
    ask(node, "", "create", "namespace", name)
    eventually(lambda: node.kubectl("-n", name, "get", "serviceaccount", "default").exit_code == 0)
    yield name
    ask(node, "", "delete", "namespace", name, "--wait=false")
