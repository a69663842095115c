"""Manifests with mistakes: `kubectl apply` and our reader both refuse them, and what they say is written down."""

from __future__ import annotations

import pytest
import yaml

from hpi_core.api.manifest import read_manifest
from hpi_core.errors import InvalidManifest
from support.control_plane.cluster import ControlPlane
from support.kinds import BY_NAME, manifest
from support.manifests import Document, with_value
from support.objects import Objects
from support.refusals import REFUSALS, Refusal

UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
    "existing errors to complete validation"
)
"""What the server adds where a type or a bound that rules depend on is wrong; it says nothing of the mistake."""


def lines_of(error: str) -> list[str]:
    """Return what kubectl said, one line for each problem, in an order of its own: the server's changes."""
    _, invalid, problems = error.strip().partition('" is invalid: ')
    lines = [line.removeprefix("* ") for line in problems.split("\n")] if invalid else error.strip().split("\n")
    return sorted(line for line in lines if line not in ("", UNCHECKED))


def apply(cluster: ControlPlane, namespace: str, document: Document) -> list[str]:
    answer = cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(document))
    assert (answer.exit_code, answer.output) == (1, "")
    return lines_of(answer.error)


def test_there_are_cases_of_every_kind() -> None:
    assert {refusal.kind for refusal in REFUSALS} == BY_NAME.keys()
    assert len({refusal.id for refusal in REFUSALS}) == len(REFUSALS) >= 60


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_kubectl_says_what_is_wrong(kinds_served: ControlPlane, dry_objects: Objects, refusal: Refusal) -> None:
    assert apply(kinds_served, dry_objects.namespace, refusal.document) == sorted(refusal.kubectl)


def test_every_unknown_field_is_named_at_once(kinds_served: ControlPlane, dry_objects: Objects) -> None:
    document = with_value(with_value(manifest("HPIPipeline"), "spec.a", 1), "spec.build.b", 1)

    [said] = apply(kinds_served, dry_objects.namespace, document)

    assert said.endswith('strict decoding error: unknown field "spec.a", unknown field "spec.build.b"')


def test_a_spec_that_must_not_change_says_so(kinds_served: ControlPlane, objects: Objects) -> None:
    assert objects.create(manifest("HPIEngine")).accepted
    document = with_value(manifest("HPIEngine"), "spec.mode", "Throughput")

    assert apply(kinds_served, objects.namespace, document) == [
        'spec: Invalid value: "object": spec must not change: another resolution is another HPIEngine'
    ]


def test_of_two_equal_keys_kubectl_takes_the_last_and_our_reader_neither(
    kinds_served: ControlPlane, dry_objects: Objects
) -> None:
    text = yaml.safe_dump(manifest("HPIPipeline")) + "  replicas: 1\n  replicas: 2\n"

    applied = kinds_served.kubectl(
        "apply",
        "-n",
        dry_objects.namespace,
        "--dry-run=server",
        "-o",
        "jsonpath={.spec.replicas}",
        "-f",
        "-",
        stdin=text,
    )

    assert applied.output == "2", applied.error
    with pytest.raises(InvalidManifest, match="key 'replicas' appears twice"):
        read_manifest(text, "test.yaml")
