"""Requests to an API server are read as Kubernetes reads them."""

from __future__ import annotations

import pytest

from support.api_calls import asks, read_call


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/nodes", ("list", "nodes", "", "")),
        ("GET", "/api/v1/nodes?watch=true&limit=5", ("watch", "nodes", "", "")),
        ("GET", "/api/v1/namespaces", ("list", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "namespaces", "", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "namespaces/finalize", "", "a")),
        ("POST", "/api/v1/namespaces/a/pods", ("create", "pods", "a", "")),
        ("GET", "/apis/apps/v1/namespaces/a/deployments/status", ("get", "deployments", "a", "status")),
        ("PATCH", "/apis/hpi.paddlex.io/v1alpha1/hpinodes/n1/status", ("patch", "hpinodes/status", "", "n1")),
        ("DELETE", "/api/v1/namespaces/a/pods", ("deletecollection", "pods", "a", "")),
        ("DELETE", "/api/v1/namespaces/a/pods/p", ("delete", "pods", "a", "p")),
        ("GET", "/apis/apps/v1", ("", "", "", "")),
        ("GET", "/version", ("", "", "", "")),
    ],
)
def test_requests_are_read_as_kubernetes_reads_them(
    method: str, target: str, expected: tuple[str, str, str, str]
) -> None:
    call = read_call(method, target)

    assert (call.verb, call.resource, call.namespace, call.name) == expected


def test_only_what_is_said_decides_which_requests_are_meant() -> None:
    page = read_call("GET", "/api/v1/namespaces/a/pods?limit=5&continue=x", agent="hpi-operator/1")

    assert asks()(page)
    assert asks("list", "pods", namespace="a", agent="hpi-operator", continued=True)(page)
    assert asks(["get", "list"], {"pods", "nodes"})(page)
    assert not any(
        other(page)
        for other in (
            asks("get"),
            asks("list", "pods/status"),
            asks(name="p"),
            asks(continued=False),
            asks(agent="kubectl"),
        )
    )
