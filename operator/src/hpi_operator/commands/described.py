"""A cluster as files describe it: Nodes, HPINodes, runtimes, pools, and what a manifest refers to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel

from hpi_core.api.base import API_VERSION
from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.errors import InvalidManifest, Refused
from hpi_operator.observe import projections
from hpi_operator.observe.reading import read
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.observed import NodeView

MAX_FILE_BYTES: Final = 64 * 2**20
"""Largest file read: a thousand Nodes, with all that `kubectl get -o yaml` prints of them, are a third of it."""
STDIN: Final = "-"
REFERRED: Final = frozenset({"ConfigMap", "Secret", "PersistentVolumeClaim"})
OLDEST: Final = "1970-01-01T00:00:00Z"

Model = TypeVar("Model", bound=BaseModel)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as kubectl writes and reads it: a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass
class Described:
    """What files say."""

    pipelines: list[HPIPipeline] = field(default_factory=list)
    nodes: list[NodeView] = field(default_factory=list)
    hpi_nodes: dict[str, HPINode] = field(default_factory=dict)
    """By name."""
    runtimes: list[HPIRuntime] = field(default_factory=list)
    pools: list[HPINodePool] = field(default_factory=list)
    pool_ages: dict[str, str] = field(default_factory=dict)
    """When each pool was made."""
    texts: dict[ObjectKey, Mapping[str, str | None]] = field(default_factory=dict)
    """Texts of ConfigMaps by key; of a claim its access modes under the empty key."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Objects by kind that decide nothing."""


def read_files(names: Iterable[str], namespace: str) -> Described:
    """Return what files say.

    Args:
        names: Names of files; `-` is standard input.
        namespace: Of an object that names none.

    Raises:
        Refused: A file cannot be read, an object in it is invalid, or none is an HPIPipeline.
    """
    described = Described()
    for name in names:
        for document in _documents(name):
            _add(described, document, name, namespace)
    if not described.pipelines:
        raise Refused(f"{', '.join(names)}: no HPIPipeline is in there; name its file with -f")
    described.nodes = [_with_uid(one, described.hpi_nodes.get(one.name)) for one in described.nodes]
    return described


def _with_uid(node: NodeView, hpi_node: HPINode | None) -> NodeView:
    """Return a node that was written by hand, without a UID, as the one that an HPINode of its name is about."""
    return replace(node, uid=hpi_node.spec.node_uid) if not node.uid and hpi_node is not None else node


def _documents(name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of one file, those of lists too."""
    try:
        if name == STDIN:
            text = sys.stdin.read(MAX_FILE_BYTES + 1)
        else:
            path = Path(name)
            if path.stat().st_size > MAX_FILE_BYTES:
                raise Refused(f"{name} is larger than {MAX_FILE_BYTES} bytes; split it")
            text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{name} cannot be read: {error}") from None
    if len(text) > MAX_FILE_BYTES:
        raise Refused(f"{name} is larger than {MAX_FILE_BYTES} bytes; split it")
    try:
        found = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refused(f"{name} cannot be read as YAML: {' '.join(str(error).split())}") from None
    for document in found:
        items = document.get("items") if isinstance(document, dict) and _is_list(document) else [document]
        for one in items or ():
            if one is None:
                continue
            if not isinstance(one, dict) or not isinstance(one.get("metadata"), dict) or "kind" not in one:
                raise Refused(f"{name}: every document must be an object with kind and metadata, got {str(one)[:80]!r}")
            yield one


def _is_list(document: Mapping[str, Any]) -> bool:
    return str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list)


def _add(described: Described, document: dict[str, Any], where: str, namespace: str) -> None:
    kind, metadata = document["kind"], document["metadata"]
    if kind == "HPIPipeline":
        metadata.setdefault("namespace", namespace)
        # What the API server has added is none of the manifest's.
        written = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
        bare = {key: document[key] for key in ("apiVersion", "kind", "spec") if key in document}
        text = json.dumps({**bare, "metadata": written}, default=str)
        described.pipelines.append(read_pipeline(text, where))
    elif kind == "Node" and document.get("apiVersion") == "v1":
        metadata.setdefault("uid", "")
        described.nodes.append(projections.node(document))
    elif kind == "HPINode":
        described.hpi_nodes[metadata["name"]] = _read(HPINode, document, where)
    elif kind == "HPIRuntime":
        described.runtimes.append(_read(HPIRuntime, document, where))
    elif kind == "HPINodePool":
        described.pools.append(_read(HPINodePool, document, where))
        described.pool_ages[metadata["name"]] = metadata.get("creationTimestamp") or OLDEST
    elif kind in REFERRED:
        key = ObjectKey("v1", kind, metadata.get("namespace", namespace), metadata["name"])
        described.texts[key] = _texts(kind, document)
    else:
        described.ignored[kind] = described.ignored.get(kind, 0) + 1


def _texts(kind: str, document: Manifest) -> Mapping[str, str | None]:
    if kind == "ConfigMap":
        return {key: str(text) for key, text in (document.get("data") or {}).items()}
    if kind == "PersistentVolumeClaim":
        return {"": ",".join((document.get("spec") or {}).get("accessModes") or ())}
    return {"": ""}


def _read(model: type[Model], document: Manifest, where: str) -> Model:
    if document.get("apiVersion") != API_VERSION:
        raise Refused(f"{where}: {document['kind']} must have apiVersion {API_VERSION}")
    parsed, problems = read(model, document)
    if parsed is None:
        raise InvalidManifest(f"{where}: {document['kind']} {document['metadata'].get('name')}", list(problems))
    return parsed
