"""How an operator begins: what is missing is named, nothing crashes, and it goes on by itself when it is there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Final

import pytest

from hpi_core.api.base import GROUP
from hpi_operator.kube.resources import DEPLOYMENTS, EVENTS, LEASES, PIPELINES, ROUTES, RUNTIMES
from hpi_operator.rights import LEASE, needed_rights
from support.audit import WRITES
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.control_plane.namespaces import make_namespace
from support.eventually import eventually
from support.everything import ROUTE_KIND
from support.installation import bind
from support.objects import serve_kinds
from support.observed import a_runtime
from support.operated import Site
from support.operators import NAMESPACE, USER, OperatorProcess, install_operator

RIGHT: Final = "patch services in every namespace"


@pytest.fixture(scope="module")
def bare(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster without our kinds, at first."""
    with ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path_factory.mktemp("start")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kinds(bare: ControlPlane) -> ControlPlane:
    """The same with our kinds."""
    serve_kinds(bare)
    return bare


@pytest.fixture(scope="module")
def site(kinds: ControlPlane) -> Iterator[Site]:
    """Nodes and agents there."""
    with Site(kinds) as site:
        yield site


def test_kinds_that_are_missing_are_waited_for_and_named(bare: ControlPlane) -> None:
    install_operator(bare)
    with OperatorProcess(bare, name="early") as operator:
        [line] = eventually(
            lambda: operator.lines("kinds are missing: apply the CustomResourceDefinitions of this release (crds/)")
        )
        missing = operator.metric("hpi_operator_kind_missing")
        probes = [operator.probe(path)[0] for path in ("/healthz", "/readyz")]

        serve_kinds(bare)

        operator.wait_until_whole()
        assert operator.metric("hpi_operator_kind_missing") == 0
        assert operator.stop() == 0
    assert f"hpipipelines.{GROUP}" in line["kinds"]
    assert (missing, probes) == (5, [200, 200])


def test_a_missing_right_is_named_in_log_metric_event_and_condition_and_the_rest_works(
    site: Site, kinds: ControlPlane
) -> None:
    own = make_namespace(kinds, "rights-1")
    install_operator(kinds, without=[RIGHT])
    with OperatorProcess(kinds, name="poor") as operator:
        operator.wait_until_whole()
        site.wait_until_usable()
        site.create(own, "ocr")

        site.wait(own, "ocr", "Accepted", "False", "PermissionMissing", says=f"Service {own}/ocr")
        site.wait(own, "ocr", "Available", "True")
        assert f'hpi_operator_right_missing{{right="{RIGHT}"}}' in operator.metrics()
        assert [
            line["right"] for line in operator.lines("a right is missing: grant it to the operator's service account")
        ] == [RIGHT]
        [event] = eventually(lambda: _events_about_the_lease(site))
        assert RIGHT in event["note"]
        assert operator.probe("/healthz")[0] == 200
        operator.stop()


def _events_about_the_lease(site: Site) -> list[dict[str, str]]:
    found, _ = site.client.items(EVENTS.path(NAMESPACE))
    about = [one for one in found if (one["regarding"]["kind"], one["regarding"]["name"]) == (LEASES.kind, LEASE)]
    return [one for one in about if one["reason"] == "PermissionMissing"]


def test_objects_of_a_kind_that_may_not_be_seen_are_left_alone(site: Site, kinds: ControlPlane) -> None:
    own = make_namespace(kinds, "rights-2")
    install_operator(kinds, without=["list networkpolicies.networking.k8s.io in every namespace"])
    with OperatorProcess(kinds, name="blind") as operator:
        operator.wait_until_leading()
        site.wait_until_usable()
        site.create(own, "ocr")

        said = site.wait(own, "ocr", "Accepted", "False", "PermissionMissing", says="NetworkPolicy")
        site.wait(own, "ocr", "Available", "True")
        operator.stop()

    assert 'cannot list resource "networkpolicies"' in said["message"]


@pytest.mark.slow
def test_a_picture_that_no_right_allows_is_said_by_every_pipeline_and_a_right_that_is_granted_is_used(
    site: Site, kinds: ControlPlane
) -> None:
    own = make_namespace(kinds, "rights-3")
    install_operator(kinds, without=["list pods in every namespace"])
    with OperatorProcess(kinds, name="blinder") as operator:
        operator.wait_until_leading()
        site.create(own, "ocr")
        said = site.wait(own, "ocr", "Progressing", "Unknown", "PermissionMissing", seconds=120.0)
        before = site.children(DEPLOYMENTS, own, "ocr")

        bind(kinds, USER, needed_rights(NAMESPACE))

        site.serves(own, "ocr", seconds=120.0)
        eventually(lambda: operator.metric("hpi_operator_right_missing") == 0, 120.0)
        operator.stop()

    assert 'cannot list resource "pods"' in said["message"]
    assert before == {}


def test_an_object_that_this_release_cannot_read_is_told_so_and_others_go_on(site: Site, kinds: ControlPlane) -> None:
    own = make_namespace(kinds, "skew-1")
    install_operator(kinds)
    _open_schemas(kinds)
    with OperatorProcess(kinds, name="older") as operator:
        operator.wait_until_whole()
        site.wait_until_usable()
        later = {"spec": {"pipeline": "OCR", "ofALaterRelease": True}, "metadata": {"name": "later"}}
        body = {"apiVersion": PIPELINES.api_version, "kind": PIPELINES.kind, **later}
        site.client.request("POST", PIPELINES.path(own), body)
        runtime = a_runtime("hpi-later-1.0.0").model_dump(mode="json", by_alias=True, exclude_none=True)
        runtime["spec"]["ofALaterRelease"] = True
        site.client.request("POST", RUNTIMES.path(), runtime)
        site.create(own, "ocr")

        said = site.wait(own, "later", "Accepted", "False", "InvalidSpec", says="ofALaterRelease")
        site.serves(own, "ocr")
        eventually(lambda: _ready_reason(site, "hpi-later-1.0.0") == "InvalidSpec")
        operator.wait_until_idle()
        assert [line for line in operator.lines() if "exception" in line] == []
        operator.stop()

    assert said["message"].startswith("this release of the operator cannot read the spec")
    site.delete(RUNTIMES, "", "hpi-later-1.0.0")


def _ready_reason(site: Site, runtime: str) -> str:
    found = site.there(RUNTIMES, "", runtime)
    reasons = [one["reason"] for one in found.get("status", {}).get("conditions", ()) if one["type"] == "Ready"]
    return reasons[0] if reasons else ""


def _open_schemas(cluster: ControlPlane) -> None:
    """Let specs hold fields that this release does not know, as the kinds of a later release would."""
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-preserve-unknown-fields"
    patch = json.dumps([{"op": "add", "path": path, "value": True}])
    for plural in ("hpipipelines", "hpiruntimes"):
        done = cluster.kubectl("patch", "crd", f"{plural}.{GROUP}", "--type=json", "-p", patch)
        assert done.exit_code == 0, done.error
        # The API server serves the new schema a moment later.
        time.sleep(1.0)


@pytest.mark.slow
def test_an_optional_api_that_comes_later_is_used_and_one_that_goes_is_said(site: Site, kinds: ControlPlane) -> None:
    own = make_namespace(kinds, "route-1")
    install_operator(kinds)
    with OperatorProcess(kinds, name="router") as operator:
        operator.wait_until_whole()
        site.wait_until_usable()
        site.create(own, "ocr", route={"parentRefs": [{"name": "gateway"}]})
        site.wait(own, "ocr", "Routed", "False", "ApiMissing")
        site.wait(own, "ocr", "Available", "True")

        site.client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", ROUTE_KIND)

        site.wait(own, "ocr", "Routed", "Unknown", "RouteNotAccepted", says="no gateway has answered", seconds=120.0)
        assert "ocr" in site.children(ROUTES, own, "ocr")
        site.cluster.kubectl("delete", "crd", ROUTE_KIND["metadata"]["name"], "--wait")
        site.wait(own, "ocr", "Routed", "False", "ApiMissing", seconds=120.0)
        assert operator.probe("/healthz")[0] == 200
        operator.stop()
