"""The API server is found by a kubeconfig or as the pod that this runs in; tokens are read again when they change."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpi_core.errors import Refused
from hpi_operator.kube.configuration import load_client, login_facts


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The inside of a pod: its token's file."""
    from kubernetes.config import incluster_config

    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_text("a certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    # Loading the authority is not what these tests are about.
    monkeypatch.setattr("kubernetes.client.rest.RESTClientObject.__init__", lambda self, configuration: None)
    return token


def token_of(client: Any) -> str:
    return str(client.configuration.get_api_key_with_prefix("authorization"))


def test_a_token_that_was_replaced_is_used_when_a_minute_has_passed(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    now = [datetime(2026, 1, 1)]

    class Clock:
        timedelta = timedelta

        class datetime:
            @staticmethod
            def now() -> datetime:
                return now[0]

    monkeypatch.setattr(incluster_config, "datetime", Clock)
    client = load_client(None, 4)
    pod.write_text("second")
    before = token_of(client)
    now[0] += timedelta(seconds=61)

    assert (before, token_of(client)) == ("bearer first", "bearer second")


def test_kopf_gets_the_token_that_is_in_the_file_now(pod: Path) -> None:
    first = login_facts(None)
    pod.write_text("second")

    facts = login_facts(None)

    assert (first["token"], facts["token"], facts["scheme"]) == ("first", "second", "Bearer")
    assert facts["server"] == "https://10.0.0.1:443"


def test_a_kubeconfig_says_where_and_as_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubernetes.client.rest.RESTClientObject.__init__", lambda self, configuration: None)
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://api:6443", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))

    facts = login_facts(str(path))

    assert (facts["server"], facts["insecure"], facts["scheme"], facts["token"]) == (
        "https://api:6443",
        True,
        "Bearer",
        "t",
    )


def test_neither_of_both_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(Refused, match="give --kubeconfig FILE"):
        load_client(None, 1)


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing-here"):
        load_client(str(tmp_path / "nothing-here"), 1)
