"""A person reaches a cluster as kubectl does: files, contexts, namespaces; or the rights of the pod."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpi_core.errors import Refused
from hpi_operator.kube.configuration import person_access


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person without any configuration, on a machine that is no pod."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def a_kubeconfig(path: Path, *contexts: str, namespace: str | None = None) -> Path:
    """Write a file with contexts, each of which leads to a server of its name; the first is the current one."""
    place = {} if namespace is None else {"namespace": namespace}
    document: dict[str, Any] = {
        "current-context": contexts[0],
        "contexts": [{"name": one, "context": {"cluster": one, "user": "u", **place}} for one in contexts],
        "clusters": [
            {"name": one, "cluster": {"server": f"https://{one}:6443", "insecure-skip-tls-verify": True}}
            for one in contexts
        ],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_the_file_in_the_home_is_found(tmp_path: Path) -> None:
    a_kubeconfig(tmp_path / ".kube" / "config", "home", namespace="shop")

    access = person_access(None, None, 1)

    assert (access.server, access.namespace) == ("https://home:6443", "shop")


def test_a_context_without_a_namespace_means_default(tmp_path: Path) -> None:
    assert person_access(str(a_kubeconfig(tmp_path / "k", "one")), None, 1).namespace == "default"


def test_several_files_are_one_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [a_kubeconfig(tmp_path / name, name) for name in ("first", "second")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, files)))

    assert person_access(None, None, 1).server == "https://first:6443"
    assert person_access(None, "second", 1).server == "https://second:6443"


def test_an_unknown_context_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = a_kubeconfig(tmp_path / "k", "staging", "production")

    with pytest.raises(Refused, match=r"no context 'prodction': did you mean production\? It has: production, staging"):
        person_access(str(path), "prodction", 1)


def test_a_file_without_a_current_context_serves_whoever_names_one(tmp_path: Path) -> None:
    path = a_kubeconfig(tmp_path / "k", "one")
    path.write_text(path.read_text().replace("current-context: one", ""))

    assert person_access(str(path), "one", 1).server == "https://one:6443"
    with pytest.raises(Refused, match="names no current context: give --context; it has: one"):
        person_access(str(path), None, 1)


def test_no_file_at_all_is_refused_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"there is no file {tmp_path}/.kube/config; name a kubeconfig file"):
        person_access(None, None, 1)


@pytest.mark.parametrize("content", ["a: [", "", "text", "[]"])
def test_a_file_that_is_no_kubeconfig_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(Refused, match="no API server to speak to"):
        person_access(str(path), None, 1)


def test_inside_a_pod_without_a_file_its_own_rights_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("x")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr("kubernetes.client.rest.RESTClientObject.__init__", lambda self, configuration: None)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    assert person_access(None, None, 1).server == "https://10.0.0.1:443"
