"""A kind → its CustomResourceDefinition, as a manifest and as the text of its file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import yaml

from hpi_core.api.base import GROUP, VERSION
from hpi_core.api.definition import Column, Kind
from hpi_core.schema.structural import JsonSchema, in_one_line, structural_schema, validations

HEADER: Final = "# Generated from crds/src/hpi_core/api by `make crds`; a change belongs there.\n"
_LONGEST_PLAIN: Final = 60
"""Longest text that shares the line of its field. Unit: characters."""


def custom_resource_definition(kind: Kind) -> dict[str, Any]:
    """Return the manifest that makes an API server serve a kind."""
    singular = kind.name.lower()
    names = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": singular,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}, **_scale(kind)},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": _whole_object(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {"group": GROUP, "scope": kind.scope, "names": names, "versions": [version]},
    }


def file_name(kind: Kind) -> str:
    """Return the name of the file that holds the manifest of a kind."""
    return f"{GROUP}_{kind.plural}.yaml"


def file_text(kind: Kind) -> str:
    """Return the manifest of a kind as YAML: fields in the order of the models, nothing written twice by reference."""
    text: str = yaml.dump(
        custom_resource_definition(kind), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120
    )
    return HEADER + text


def _whole_object(kind: Kind) -> JsonSchema:
    schema = structural_schema(kind.model)
    # Kubernetes declares and checks these three itself; of metadata a schema may not even say what it is.
    for name in ("apiVersion", "kind"):
        schema["properties"][name] = {"description": schema["properties"][name]["description"], "type": "string"}
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"]["spec"] = _with_defaults_said(schema["properties"]["spec"])
    required = [name for name in schema.pop("required") if name not in ("apiVersion", "kind", "metadata")]
    return {
        "description": in_one_line(kind.model.__doc__ or ""),
        **schema,
        **({"required": required} if required else {}),
        **validations((*kind.model.rules, *kind.rules)),
    }


def _with_defaults_said(schema: JsonSchema) -> JsonSchema:
    """Return a schema whose descriptions end with the default: `kubectl explain` shows no other word of it."""
    said = dict(schema)
    if isinstance(default := schema.get("default", {}), bool | int | str | list) and default != "":
        said["description"] += f" Default: {_in_flow_style(default)}."
    for name in ("items", "additionalProperties"):
        if name in schema:
            said[name] = _with_defaults_said(schema[name])
    if "properties" in schema:
        said["properties"] = {name: _with_defaults_said(inner) for name, inner in schema["properties"].items()}
    return said


def _in_flow_style(value: Any) -> str:
    if isinstance(value, str):
        return value
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, explicit_end=False, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")


def _scale(kind: Kind) -> dict[str, Any]:
    if kind.scale is None:
        return {}
    return {
        "scale": {
            "specReplicasPath": kind.scale.spec_replicas_path,
            "statusReplicasPath": kind.scale.status_replicas_path,
            "labelSelectorPath": kind.scale.label_selector_path,
        }
    }


def _column(column: Column) -> dict[str, Any]:
    # A server drops the priority 0; with it in the manifest, every `kubectl apply` would find a difference.
    priority = {"priority": column.priority} if column.priority else {}
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
        **priority,
    }


class _Dumper(yaml.SafeDumper):
    """YAML for people: no anchors, and sentences in folded blocks instead of quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = ">" if " " in text and len(text) > _LONGEST_PLAIN else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def stream_text(kinds: Iterable[Kind]) -> str:
    """Return the definitions of several kinds as one stream of YAML."""
    return "---\n".join(file_text(kind) for kind in kinds)
