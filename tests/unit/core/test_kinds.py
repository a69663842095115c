"""All kinds: every field is bounded and described, names and types are as the API wants them, manifests are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.alias_generators import to_snake

from hpi_core.api.definition import Kind
from hpi_core.api.manifest import read_manifest, read_pipeline
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.api.v1alpha1.pipeline import CLUSTER_ONLY
from hpi_core.api.words import PATTERNS_IN_WORDS
from hpi_core.errors import InvalidManifest
from support.kinds import CONFIGS, IDS, PATHS, SAMPLES, around, manifest, read, schema_of
from support.manifests import Document, with_value
from support.schemas import Schema, walk

SCHEMAS = {kind.name: schema_of(kind) for kind in KINDS}
NODES = [
    (name, path, node)
    for name, schema in SCHEMAS.items()
    for part in ("spec", "status")
    for path, node in walk(schema["properties"][part], part)
]
"""Every value of spec and status: kind, path, schema."""

NUMBERS = [(name, path, node) for name, path, node in NODES if node.get("type") == "integer"]


def ids_of(nodes: list[tuple[str, str, Schema]]) -> list[str]:
    return [f"{name}-{path}" for name, path, _ in nodes]


def models() -> list[type[BaseModel]]:
    """Return every model that a manifest is made of."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [kind.model for kind in KINDS]
    while waiting:
        part = waiting.pop()
        if isinstance(part, type) and issubclass(part, BaseModel) and part not in found:
            found.append(part)
            waiting += [field.annotation for field in part.model_fields.values()]
        waiting += getattr(part, "__args__", ())
    return found


FIELDS = [(model, name) for model in models() for name in model.model_fields]


def paths_in(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the path of every value in a document, as `walk` names it."""
    yield path
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            yield from paths_in(inner, schema["properties"][name], f"{path}.{name}".lstrip("."))
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for inner in value.values():
            yield from paths_in(inner, schema["additionalProperties"], f"{path}.*")
    elif isinstance(value, list) and "items" in schema:
        for inner in value:
            yield from paths_in(inner, schema["items"], f"{path}[]")


DOCUMENTS = [read(path) for path in PATHS]
PATHS_IN = [set(paths_in(document, SCHEMAS[document["kind"]])) for document in DOCUMENTS]


def holder_of(kind: str, path: str) -> Document:
    """Return a manifest of a kind in which the value at a path such as `spec.modules[].path` is there."""
    holders = zip(DOCUMENTS, PATHS_IN, strict=True)
    return next(document for document, paths in holders if document["kind"] == kind and path in paths)


def problems_at(document: Document, path: str) -> list[str]:
    """Return what is said of one field."""
    try:
        read_manifest(json.dumps(document), "test.yaml")
    except InvalidManifest as error:
        return [problem for problem in error.problems if problem.startswith(f"{path}: ")]
    return []


def test_the_walk_finds_the_leaves_of_every_branch() -> None:
    paths = {f"{name}.{path}" for name, path, _ in NODES}

    assert {
        "HPIPipeline.spec.modules[].inference.hpiConfig.backend",
        "HPIPipeline.spec.podTemplate.labels.*",
        "HPIEngine.spec.shapes[].shapes[][]",
        "HPINode.status.hardware.processors.isaFlags[]",
    } <= paths
    assert len(NUMBERS) > 70


@pytest.mark.parametrize(("kind", "path", "leaf"), NUMBERS, ids=ids_of(NUMBERS))
def test_a_number_is_accepted_at_its_bounds_and_refused_beyond_them(kind: str, path: str, leaf: Schema) -> None:
    least, most, here = leaf["minimum"], leaf["maximum"], path.replace("[]", "[0]")
    document = around(holder_of(kind, path), path)

    said = {value: problems_at(with_value(document, here, value), here) for value in (least - 1, least, most, most + 1)}

    assert said == {
        least - 1: [f"{here}: must be at least {least}, got {least - 1}"],
        least: [],
        most: [],
        most + 1: [f"{here}: must be at most {most}, got {most + 1}"],
    }


@pytest.mark.parametrize(("kind", "path", "leaf"), NUMBERS, ids=ids_of(NUMBERS))
def test_a_default_number_is_within_its_bounds(kind: str, path: str, leaf: Schema) -> None:
    assert leaf["minimum"] <= leaf.get("default", leaf["minimum"]) <= leaf["maximum"]


def is_bounded(node: Schema) -> bool:
    """Return whether a value of the greatest size that a schema allows has a size at all."""
    if node.get("x-kubernetes-int-or-string"):
        return {"minimum", "maximum", "maxLength"} <= node.keys()
    return {
        "boolean": True,
        "integer": {"minimum", "maximum", "format"} <= node.keys(),
        "string": bool({"maxLength", "enum"} & node.keys()),
        "array": "maxItems" in node,
        # The inner structure of some mappings is not ours; the size of the whole object bounds them.
        "object": bool({"properties", "maxProperties", "x-kubernetes-preserve-unknown-fields"} & node.keys()),
    }[node["type"]]


def test_every_value_has_a_type_and_a_bound() -> None:
    assert [f"{kind}.{path}" for kind, path, node in NODES if not is_bounded(node)] == []


def test_every_list_says_how_it_is_merged() -> None:
    lists = [(kind, path, node.get("x-kubernetes-list-type")) for kind, path, node in NODES if "items" in node]

    assert len(lists) > 40
    assert [(kind, path) for kind, path, said in lists if said not in ("map", "set", "atomic")] == []


def test_a_list_map_is_keyed_by_fields_that_are_always_there() -> None:
    absent = [
        f"{kind}.{path}[].{key}"
        for kind, path, node in NODES
        for key in node.get("x-kubernetes-list-map-keys", [])
        if key not in node["items"]["required"]
    ]

    assert absent == []


ALLOWED = {
    *("description", "default", "type", "format", "enum", "pattern", "properties", "required", "items"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "additionalProperties"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"),
}


def test_a_schema_holds_only_the_words_of_a_structural_one() -> None:
    assert {word for schema in SCHEMAS.values() for _, node in walk(schema) for word in node} <= ALLOWED


def test_every_pattern_is_said_in_words() -> None:
    # Kubernetes owns metadata; our reader checks its name, its namespace and no more.
    metadata = {"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
    keys = {
        pattern
        for _, _, node in NODES
        for rule in node.get("x-kubernetes-validations", [])
        for pattern in re.findall(r"key\.matches\(r'(.*)'\)", rule["rule"])
    }
    shares = {node["pattern"] for _, _, node in NODES if node.get("x-kubernetes-int-or-string")}

    patterns = {node["pattern"] for _, _, node in NODES if "pattern" in node}

    assert (patterns - shares) | keys | metadata == PATTERNS_IN_WORDS.keys()


def test_every_field_is_described_by_a_sentence() -> None:
    said = [(f"{model.__name__}.{name}", model.model_fields[name].description or "") for model, name in FIELDS]

    assert len(said) > 300
    assert [where for where, words in said if not re.fullmatch(r"(?s)[A-Z`].*\.", words)] == []


def test_every_field_is_camel_case_on_the_wire_and_snake_case_in_python() -> None:
    names = [(model.model_fields[name].alias or "", name) for model, name in FIELDS]

    assert [alias for alias, _ in names if not re.fullmatch(r"[a-z]+([A-Z0-9][a-z0-9]*)*", alias)] == []
    assert [name for alias, name in names if to_snake(alias).replace("_", "") != name.replace("_", "")] == []


def test_names_on_the_wire_are_those_of_the_design() -> None:
    paths = {f"{name}.{path}" for name, path, _ in NODES}

    assert {
        "HPIPipeline.spec.config.configMapKeyRef",
        "HPIPipeline.spec.inference.useHpip",
        "HPIPipeline.spec.inference.hpiConfig.autoPaddle2onnx",
        "HPIPipeline.spec.serving.limits.imageSidePixels",
        "HPIPipeline.spec.placement.accelerators[].class",
        "HPIEngine.status.candidates[].largestDifferencePartsPerMillion",
        "HPINode.spec.nodeUid",
    } <= paths


def test_what_only_a_cluster_honours_are_fields_of_the_spec() -> None:
    assert set(CLUSTER_ONLY) < set(SCHEMAS["HPIPipeline"]["properties"]["spec"]["properties"])


def test_every_model_is_frozen_and_refuses_unknown_fields() -> None:
    settings = [(model.model_config.get("frozen"), model.model_config.get("extra")) for model in models()]

    assert len(settings) > 70
    assert set(settings) == {(True, "forbid")}


def test_no_word_of_kubectl_means_two_kinds_or_a_kind_and_the_whole_group() -> None:
    # `kubectl get WORD NAME` is refused where the word stands for several kinds: only one resource may be named.
    words = [word for kind in KINDS for word in (kind.plural, kind.name.lower(), *kind.short_names)]
    groups = {group for kind in KINDS for group in kind.categories}

    assert len(words) == len(set(words))
    assert not groups & set(words)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_manifests_of_a_kind_set_every_field_between_them(kind: Kind) -> None:
    of_kind = [paths for document, paths in zip(DOCUMENTS, PATHS_IN, strict=True) if document["kind"] == kind.name]

    seen = set().union(*of_kind)

    assert seen == {path for path, _ in walk(SCHEMAS[kind.name])}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_minimal_manifest_says_nothing_that_could_be_left_out(kind: Kind) -> None:
    document = manifest(kind.name)
    spec = SCHEMAS[kind.name]["properties"]["spec"]

    beyond = document.get("spec", {}).keys() - set(spec.get("required", []))

    # Of the pipeline's three ways to say what is served, one is needed.
    assert beyond == ({"pipeline"} if kind.name == "HPIPipeline" else set())
    assert document.keys() - {"apiVersion", "kind", "metadata"} == set(SCHEMAS[kind.name].get("required", []))


@pytest.mark.parametrize("path", [*PATHS, *SAMPLES], ids=[*IDS, *(path.name for path in SAMPLES)])
def test_a_manifest_is_read_and_nothing_of_it_is_lost(path: Path) -> None:
    read_object = read_manifest(path.read_text(encoding="utf-8"), path.name)

    assert read_object.model_dump(mode="json", by_alias=True, exclude_unset=True) == read(path)


def test_there_is_a_sample() -> None:
    assert [path.name for path in SAMPLES] == ["ocr.yaml"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_model_of_a_sample_that_needs_a_part_has_one(path: Path) -> None:
    pipeline = read_pipeline(path.read_text(encoding="utf-8"), path.name)

    models = [module.model for module in pipeline.spec.modules if module.model is not None]

    assert models
    for model in models:
        assert (CONFIGS / "models" / f"{model.name}.yml").is_file()
