"""The API server of a test goes away, comes back, and forgets what it is told to forget."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cluster_client import ApiError, ClusterClient
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import WHOLE
from support.control_plane.etcd import compact
from support.control_plane.namespaces import make_namespace

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.mark.slow
def test_the_api_server_goes_away_and_comes_back_with_everything(binaries: Binaries, tmp_path: Path) -> None:
    with ControlPlane(binaries, WHOLE, parent=tmp_path) as cluster, ClusterClient(cluster) as admin:
        path = CONFIG_MAPS.format(make_namespace(cluster, "away"))
        admin.request("POST", path, {"metadata": {"name": "kept"}})
        url = cluster.url

        cluster.stop_api_server(kill=True)
        refused = cluster.kubectl("get", "namespaces")
        cluster.start_api_server()

        assert "connection refused" in refused.error
        assert cluster.url == url
        assert admin.find(f"{path}/kept") is not None
        # The controllers are there again too.
        make_namespace(cluster, "later")
        cluster.check()


@pytest.mark.slow
def test_a_watch_from_before_a_restart_is_told_that_its_version_is_gone(binaries: Binaries, tmp_path: Path) -> None:
    with ControlPlane(binaries, parent=tmp_path) as cluster, ClusterClient(cluster) as admin:
        path = CONFIG_MAPS.format(make_namespace(cluster, "gone"))
        _, version = admin.items(path)
        admin.request("POST", path, {"metadata": {"name": "later"}})

        cluster.stop_api_server(kill=True)
        cluster.start_api_server()

        with pytest.raises(ApiError) as refused:
            next(admin.watch(path, version, silence_seconds=30))
        assert (refused.value.code, refused.value.reason) == (410, "Expired")


@pytest.mark.slow
def test_after_a_compaction_an_old_page_of_a_list_is_gone(binaries: Binaries, tmp_path: Path) -> None:
    flags = {"kube-apiserver": ["--watch-cache=false"]}
    with ControlPlane(binaries, flags=flags, parent=tmp_path) as cluster, ClusterClient(cluster) as admin:
        path = CONFIG_MAPS.format(make_namespace(cluster, "pages"))
        for name in ("a", "b", "c"):
            admin.request("POST", path, {"metadata": {"name": name}})
        page = admin.request("GET", path, query={"limit": "1"})
        admin.request("POST", path, {"metadata": {"name": "d"}})

        compact(cluster)

        with pytest.raises(ApiError) as refused:
            admin.request("GET", path, query={"limit": "1", "continue": page["metadata"]["continue"]})
        assert (refused.value.code, refused.value.reason) == (410, "Expired")
