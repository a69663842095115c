"""Manifests of every kind are read by one door, and what is wrong with them is said in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpi_core.api.manifest import read_manifest, read_pipeline
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.errors import InvalidManifest
from support.kinds import BY_NAME, manifest
from support.manifests import Document, with_value

KIND_WORDS = "must be one of ['HPIPipeline', 'HPIEngine', 'HPIRuntime', 'HPINodePool', 'HPINode']"


def problems_of(document: Document) -> list[str]:
    with pytest.raises(InvalidManifest) as refusal:
        read_manifest(json.dumps(document), "test.yaml")
    return refusal.value.problems


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_is_read_as_the_model_of_its_kind(kind: Any) -> None:
    text = json.dumps(manifest(kind.name, "full"))

    assert type(read_manifest(text, "test.yaml")) is kind.model


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        (
            {"kind": "HPIPipelines"},
            [f"kind: {KIND_WORDS}, got 'HPIPipelines'; did you mean 'HPIPipeline'?"],
        ),
        ({"kind": "Deployment"}, [f"kind: {KIND_WORDS}, got 'Deployment'"]),
        ({"kind": 5}, [f"kind: {KIND_WORDS}, got 5"]),
        ({"kind": ["HPINode"]}, [f"kind: {KIND_WORDS}, got a list"]),
        (
            {"apiVersion": "hpi.paddlex.io/v1"},
            [
                "apiVersion: must be 'hpi.paddlex.io/v1alpha1', got 'hpi.paddlex.io/v1';"
                " did you mean 'hpi.paddlex.io/v1alpha1'?"
            ],
        ),
        (
            {"apiVersion": "v1", "kind": "Secret"},
            ["apiVersion: must be 'hpi.paddlex.io/v1alpha1', got 'v1'", f"kind: {KIND_WORDS}, got 'Secret'"],
        ),
    ],
)
def test_what_is_none_of_our_kinds_is_refused_with_their_names(changes: Document, problems: list[str]) -> None:
    assert problems_of({**manifest("HPINode"), **changes}) == problems


def test_a_manifest_without_kind_and_version_is_told_both() -> None:
    assert problems_of({}) == ["apiVersion: is required", "kind: is required"]


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("HPIPipeline", "spec.placement.accelerators[0].requirements", "minDriver"),
        ("HPIPipeline", "status.conditions[0]", "reason"),
        ("HPIEngine", "spec.hardwareClass", "threads"),
        ("HPIEngine", "status.candidates[0]", "verdict"),
        ("HPIRuntime", "spec.selfTest", "timeoutSeconds"),
        ("HPINodePool", "spec.upgrade.window", "durationSeconds"),
        ("HPINode", "status.workloads[0].engineActive", "measured"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known_one_in_every_kind(kind: str, path: str, field: str) -> None:
    document = with_value(manifest(kind, "full"), f"{path}.{field}s", 1)

    assert problems_of(document) == [f"{path}.{field}s: is not a known field; did you mean {field!r}?"]


LABEL_KEY = "must be like 'pool' or 'example.com/pool'"
RESOURCE = "must be 'cpu', 'memory', 'ephemeral-storage' or like 'nvidia.com/gpu'"


@pytest.mark.parametrize(
    ("kind", "path", "value", "problem"),
    [
        ("HPIPipeline", "spec.podTemplate.labels", {"a b": "c"}, f"the key 'a b' {LABEL_KEY}"),
        ("HPIPipeline", "spec.podTemplate.labels", {"[key]": "c"}, f"the key '[key]' {LABEL_KEY}"),
        ("HPIPipeline", "spec.podTemplate.resources.limits", {"gpu": "1"}, f"the key 'gpu' {RESOURCE}"),
        ("HPINodePool", "spec.nodeSelector.matchLabels", {"": "c"}, f"the key '' {LABEL_KEY}"),
        (
            "HPINodePool",
            "spec.nodeSelector.matchLabels",
            {f"{'a' * 300}/{'b' * 17}": "c"},
            f"the key '{'a' * 79}… (320 characters) must have at most 317 characters",
        ),
    ],
)
def test_a_key_that_is_not_allowed_is_named(kind: str, path: str, value: Document, problem: str) -> None:
    assert problems_of(with_value(manifest(kind, "full"), path, value)) == [f"{path}: {problem}"]


def test_the_value_below_a_key_called_key_is_still_called_a_value() -> None:
    path = "spec.podTemplate.annotations"

    problems = problems_of(with_value(manifest("HPIPipeline", "full"), path, {"x": 1}))

    assert problems == [f"{path}.x: must be text, got 1; write it in quotes"]


SHARE = "must be a whole number from 0 to 10000 or a share such as '25%'"


@pytest.mark.parametrize("value", [-1, 10_001, "101%", "-1%", "25", "1.5%", "25 %", "٢٥%", True, 0.25, None])
def test_what_is_neither_a_count_nor_a_share_is_refused(value: Any) -> None:
    path = "spec.upgrade.maxUnavailable"

    [problem] = problems_of(with_value(manifest("HPINodePool", "full"), path, value))

    assert problem.startswith(f"{path}: {SHARE}, got ")


@pytest.mark.parametrize("value", [0, 10_000, "0%", "9%", "99%", "100%"])
def test_a_count_or_a_share_is_taken(value: Any) -> None:
    document = with_value(manifest("HPINodePool", "full"), "spec.upgrade.maxUnavailable", value)

    assert read_manifest(json.dumps(document), "test.yaml")


@pytest.mark.parametrize(
    ("kind", "path", "value", "words"),
    [
        ("HPIRuntime", "spec.backends", [], "must not be empty"),
        ("HPIRuntime", "spec.backends", ["om", "om"], "each element must appear once, repeated: ['om']"),
        ("HPIEngine", "spec.tenant", "", "must not be empty"),
        (
            "HPINode",
            "spec.engines",
            [{"namespace": "a", "name": "b"}, {"namespace": "a", "name": "b"}],
            "each namespace, name must appear once, repeated: ['a, b']",
        ),
    ],
)
def test_a_list_or_a_text_of_the_wrong_size_is_refused(kind: str, path: str, value: Any, words: str) -> None:
    assert problems_of(with_value(manifest(kind, "full"), path, value)) == [f"{path}: {words}"]


def test_a_list_whose_only_element_is_wrong_is_not_called_empty() -> None:
    document = with_value(manifest("HPIPipeline"), "spec.placement.accelerators", [{"class": "TPU"}])

    assert problems_of(document) == [
        "spec.placement.accelerators[0].class: must be one of ['CPU', 'NVIDIA', 'Ascend'], got 'TPU';"
        " did you mean 'CPU'?"
    ]


ENGINE_NAME = "metadata.name must be 'e-' and the first 40 hexadecimal digits of the digest of the spec"


@pytest.mark.parametrize(("kind", "name", "accepted"), [("HPIPipeline", "a.b", False), ("HPINode", "a.b", True)])
def test_only_a_pipeline_must_be_named_like_a_service(kind: str, name: str, accepted: bool) -> None:
    document = with_value(manifest(kind), "metadata.name", name)

    if accepted:
        assert read_manifest(json.dumps(document), "test.yaml")
    else:
        [problem] = problems_of(document)
        assert problem.endswith("a Service gets that name")
        with pytest.raises(InvalidManifest, match="a Service gets that name"):
            read_pipeline(json.dumps(document), "test.yaml")


@pytest.mark.parametrize("name", ["e-" + "0" * 39, "e-" + "0" * 41, "f-" + "0" * 40, "e-" + "g" * 40])
def test_an_engine_is_named_by_its_digest(name: str) -> None:
    assert problems_of(with_value(manifest("HPIEngine"), "metadata.name", name)) == [ENGINE_NAME]


def test_a_pipeline_and_nothing_else_is_a_pipeline() -> None:
    with pytest.raises(InvalidManifest, match="kind: must be 'HPIPipeline', got 'HPINode'"):
        read_pipeline(json.dumps(manifest("HPINode")), "test.yaml")


def test_every_kind_is_known_by_its_name() -> None:
    assert list(BY_NAME) == ["HPIPipeline", "HPIEngine", "HPIRuntime", "HPINodePool", "HPINode"]
