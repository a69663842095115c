"""The kind HPIPipeline as a whole: every leaf is bounded and described, names and types are as the API wants them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_snake

from hpi_core.api.manifest import PATTERNS_IN_WORDS, read_pipeline
from hpi_core.api.v1alpha1.pipeline import CLUSTER_ONLY, HPIPipeline
from support.manifests import an_ocr_pipeline, checked, problems_of, with_value

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SAMPLES = sorted((CONFIGS / "pipelines").glob("*.yaml"))

SCHEMA: dict[str, Any] = HPIPipeline.model_json_schema()


def leaves(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every leaf of a schema with its path; the schema of a list counts for its first entry."""
    if "$ref" in schema:
        yield from leaves(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], path)
    for inner in schema.get("anyOf", []):
        yield from leaves(inner, path)
    for name, inner in schema.get("properties", {}).items():
        yield from leaves(inner, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield path, schema
        yield from leaves(schema["items"], f"{path}[0]")
    if schema.get("type") not in (None, "object", "array", "null"):
        yield path, schema


def models() -> list[type[BaseModel]]:
    """Return every model that a manifest is made of."""
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [HPIPipeline]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found.append(kind)
            waiting += [field.annotation for field in kind.model_fields.values()]
        waiting += getattr(kind, "__args__", ())
    return found


LEAVES = list(leaves(SCHEMA, ""))
NUMBERS = [(path, leaf) for path, leaf in LEAVES if leaf.get("type") == "integer"]
FIELDS = [(model, name) for model in models() for name in model.model_fields]


def test_the_walk_finds_the_leaves_of_every_branch() -> None:
    paths = {path for path, _ in LEAVES}

    assert {"metadata.name", "spec.replicas", "spec.modules[0].inference.hpiConfig.backend"} <= paths
    assert len(NUMBERS) >= 9
    assert len(models()) == len(SCHEMA["$defs"]) + 1


@pytest.mark.parametrize(("path", "leaf"), NUMBERS, ids=[path for path, _ in NUMBERS])
def test_every_number_is_accepted_at_its_bounds_and_refused_beyond_them(path: str, leaf: dict[str, Any]) -> None:
    least, most = leaf["minimum"], leaf["maximum"]
    document = an_ocr_pipeline()

    assert checked(with_value(document, path, least))
    assert checked(with_value(document, path, most))
    assert problems_of(with_value(document, path, least - 1)) == [f"{path}: must be at least {least}, got {least - 1}"]
    assert problems_of(with_value(document, path, most + 1)) == [f"{path}: must be at most {most}, got {most + 1}"]


@pytest.mark.parametrize(("path", "leaf"), NUMBERS, ids=[path for path, _ in NUMBERS])
def test_every_default_number_is_within_its_bounds(path: str, leaf: dict[str, Any]) -> None:
    default = leaf.get("default")

    assert default is None or leaf["minimum"] <= default <= leaf["maximum"]


def test_there_are_no_floating_point_numbers() -> None:
    assert [path for path, leaf in LEAVES if leaf.get("type") == "number"] == []


def test_every_text_and_every_list_is_bounded() -> None:
    # Labels and annotations are bounded by the size of a manifest, and by Kubernetes where they are used.
    unbounded = [
        path
        for path, leaf in LEAVES
        if not leaf.keys() & {"pattern", "maxLength", "enum", "const", "maxItems", "maximum"}
        and leaf.get("type") != "boolean"
    ]

    assert unbounded == []


def test_every_pattern_is_said_in_words() -> None:
    patterns = {leaf["pattern"] for _, leaf in LEAVES if "pattern" in leaf}

    assert patterns == PATTERNS_IN_WORDS.keys()


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_every_field_is_described_by_a_sentence(model: type[BaseModel], name: str) -> None:
    description = model.model_fields[name].description

    assert description
    assert description[0].isupper()
    assert description.endswith(".")


@pytest.mark.parametrize(("model", "name"), FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_every_field_is_camel_case_on_the_wire_and_snake_case_in_python(model: type[BaseModel], name: str) -> None:
    alias = model.model_fields[name].alias

    assert alias
    assert re.fullmatch(r"[a-z]+([A-Z0-9][a-z0-9]*)*", alias)
    assert to_snake(alias).replace("_", "") == name.replace("_", "")


@pytest.mark.parametrize(
    "path",
    [
        "spec.config.configMapKeyRef",
        "spec.inference.useHpip",
        "spec.inference.hpiConfig.autoPaddle2onnx",
        "spec.serving.limits.imageSidePixels",
        "spec.podTemplate",
    ],
)
def test_names_on_the_wire_are_those_of_the_design(path: str) -> None:
    assert f'"{path.rsplit(".", 1)[1]}"' in json.dumps(SCHEMA)


def test_what_only_a_cluster_honours_are_fields_of_the_spec() -> None:
    assert set(CLUSTER_ONLY) < set(SCHEMA["$defs"]["PipelineSpec"]["properties"])


def test_every_model_is_frozen_and_refuses_unknown_fields() -> None:
    settings = [(model.model_config.get("frozen"), model.model_config.get("extra")) for model in models()]

    assert set(settings) == {(True, "forbid")}


def test_there_is_a_sample() -> None:
    assert [path.name for path in SAMPLES] == ["ocr.yaml"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_valid_and_nothing_of_it_is_lost(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    manifest = read_pipeline(text, path.name)

    assert manifest.model_dump(mode="json", by_alias=True, exclude_unset=True) == yaml.safe_load(text)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_model_of_a_sample_that_needs_a_part_has_one(path: Path) -> None:
    manifest = read_pipeline(path.read_text(encoding="utf-8"), path.name)

    models = [module.model for module in manifest.spec.modules if module.model is not None]

    assert models
    for model in models:
        assert (CONFIGS / "models" / f"{model.name}.yml").is_file()
