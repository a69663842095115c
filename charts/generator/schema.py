"""The schema of the chart's values: closed, so that a word that nothing reads is refused instead of ignored."""

from __future__ import annotations

import json
from typing import Any, Final

from hpi_core.api.base import DNS_LABEL
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.api.v1alpha1.scalars import IMAGE_BY_DIGEST, VARIANT
from hpi_core.digest import PATTERN as DIGEST_PATTERN
from hpi_core.schema.custom_resource import custom_resource_definition
from hpi_operator.install.agents import VARIABLES
from hpi_operator.install.installation import FOLDER

Schema = dict[str, Any]

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
OTHERS_VARIABLES: Final = rf"^(({'|'.join(one['name'] for one in VARIABLES)})$|HPI_|LD_|PYTHON)"
"""Names of variables that say how an agent itself runs: no site's."""
MOST_VARIABLES: Final = 32
KEY: Final = r"^[-._A-Za-z0-9]{1,253}$"
"""Of a Secret or a ConfigMap."""
ELSEWHERE: Final = ("images", "lockDigest", "architectures")
"""Fields of an HPIRuntime that have values of their own."""


def values_schema() -> str:
    """Return values.schema.json."""
    schema = {"$schema": DRAFT, "title": "Values of the chart hpi", **_closed(_properties())}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _properties() -> dict[str, Schema]:
    switch: Schema = {"type": "boolean"}
    return {
        "namespace": {"type": "string", "pattern": DNS_LABEL},
        "agentNamespace": {"type": "string", "pattern": DNS_LABEL},
        "podSecurity": {"enum": ["restricted", "privileged"]},
        "imagePullSecrets": {"type": "array", "items": _closed({"name": _text(SUBDOMAIN)}, "name")},
        "operator": _closed(_pods()),
        "agent": _closed({**_pods(), "env": _variables()}),
        "cache": _closed({"hostPath": _text(FOLDER)}),
        "runtimes": {
            "type": "object",
            "propertyNames": {"pattern": VARIANT},
            "additionalProperties": _closed(
                {
                    "enabled": switch,
                    "images": _closed({"amd64": _or_empty(IMAGE_BY_DIGEST), "arm64": _or_empty(IMAGE_BY_DIGEST)}),
                    "lockDigest": _or_empty(DIGEST_PATTERN.pattern),
                    "spec": _without(_spec("HPIRuntime"), *ELSEWHERE),
                },
                "spec",
            ),
        },
        "nodePool": _closed({"enabled": switch, "name": _text(SUBDOMAIN), "spec": _pool()}),
        "crds": _closed({"upgrade": switch}),
        "monitoring": _closed({"enabled": switch, "labels": _labels(), "dashboardLabels": _labels()}),
        # What Helm hands to a chart that is part of another.
        "global": {"type": "object"},
    }


def _pods() -> dict[str, Schema]:
    amounts = _closed({"cpu": _quantity(), "memory": _quantity()})
    toleration: dict[str, Schema] = {
        "key": {"type": "string"},
        "operator": {"enum": ["Exists", "Equal"]},
        "value": {"type": "string"},
        "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        "tolerationSeconds": {"type": "integer"},
    }
    return {
        "image": _or_empty(IMAGE_BY_DIGEST),
        "logLevel": {"enum": ["debug", "info", "warning", "error"]},
        "resources": _closed({"requests": amounts, "limits": amounts}),
        "nodeSelector": _labels(),
        "tolerations": {"type": "array", "items": _closed(toleration)},
        "priorityClassName": {"type": "string"},
    }


def _variables() -> Schema:
    """Return the schema of variables in Kubernetes' own form: each with a value, or with where one lies."""
    key = _closed({"name": _text(SUBDOMAIN), "key": _text(KEY)}, "name", "key")
    place = {**_closed({"secretKeyRef": key, "configMapKeyRef": key}), "minProperties": 1, "maxProperties": 1}
    name = {**_text(VARIABLE), "not": {"pattern": OTHERS_VARIABLES}}
    variable = _closed({"name": name, "value": {"type": "string"}, "valueFrom": place}, "name")
    # The name, and one of both others.
    variable |= {"minProperties": 2, "maxProperties": 2}
    return {"type": "array", "maxItems": MOST_VARIABLES, "items": variable}


def _pool() -> Schema:
    spec = _spec("HPINodePool")
    # The DaemonSet mounts one folder on every node: `cache.hostPath` names it for both.
    spec["properties"]["cache"] = _without(spec["properties"]["cache"], "hostPath")
    return spec


def _spec(kind: str) -> Schema:
    [found] = [one for one in KINDS if one.name == kind]
    [version] = custom_resource_definition(found)["spec"]["versions"]
    spec: Schema = _plain(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    return spec


def _plain(schema: Any) -> Any:
    """Return a schema of the API in words of JSON Schema: closed objects, no rules, no words of Kubernetes."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {key: _plain(value) for key, value in schema.items() if not key.startswith("x-")}
    kept = {
        key: {name: _plain(one) for name, one in value.items()} if key == "properties" else _plain(value)
        for key, value in schema.items()
        if not key.startswith("x-") and key not in ("default", "description", "format", "nullable")
    }
    if "properties" in kept and "additionalProperties" not in kept:
        kept["additionalProperties"] = False
    return kept


def _without(schema: Schema, *names: str) -> Schema:
    required = [name for name in schema.get("required", ()) if name not in names]
    properties = {name: one for name, one in schema["properties"].items() if name not in names}
    kept = {key: value for key, value in schema.items() if key not in ("required", "properties")}
    return {**kept, "properties": properties, **({"required": required} if required else {})}


def _closed(properties: dict[str, Schema], *required: str) -> Schema:
    demand = {"required": list(required)} if required else {}
    return {"type": "object", "additionalProperties": False, **demand, "properties": properties}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def _or_empty(pattern: str) -> Schema:
    """Return what matches a pattern or is not given yet: the template then asks for it in words."""
    return {"type": "string", "pattern": f"^$|{pattern}"}


def _quantity() -> Schema:
    return {"anyOf": [{"type": "string", "pattern": QUANTITY}, {"type": "integer", "minimum": 0}]}


def _labels() -> Schema:
    return {"type": "object", "additionalProperties": {"type": "string"}}
