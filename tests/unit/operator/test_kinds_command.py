"""`hpi-operator kinds` prints the kinds as they lie in crds/."""

from __future__ import annotations

import pytest
import yaml

from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.schema.custom_resource import custom_resource_definition
from hpi_operator.__main__ import main


def test_it_prints_every_kind_as_one_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kinds"]) == 0

    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert printed == [custom_resource_definition(kind) for kind in KINDS]


def test_without_a_cluster_nothing_is_applied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    assert main(["kinds", "--apply"]) == 2

    assert "give --kubeconfig FILE" in capsys.readouterr().err
