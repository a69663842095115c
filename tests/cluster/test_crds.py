"""The CustomResourceDefinitions on an API server: applied both ways, established, explained, shown, scaled, pruned."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from support.control_plane.cluster import ControlPlane
from support.kinds import BY_NAME, CONFIGS, FOLDER, PATHS, SAMPLES, manifest, schema_of
from support.manifests import Document, with_value
from support.objects import TABLE, Objects
from support.project import ROOT
from support.schemas import fields

CRDS = str(ROOT / "crds")


def named(document: Document, name: str) -> Document:
    return with_value(document, "metadata.name", name)


def full_object(objects: Objects, kind: str, name: str = "") -> Document:
    """Create the full object of a kind with its status; return it as it was written."""
    document = named(manifest(kind, "full"), name) if name else manifest(kind, "full")
    created = objects.create(document)
    assert created.accepted, created.causes
    written = objects.replace(document, "status")
    assert written.accepted, written.causes
    return document


def replicated_pipeline(objects: Objects, name: str) -> Document:
    """Create a pipeline with replicas and the status of the full one."""
    document = {**named(manifest("HPIPipeline", "named"), name), "status": manifest("HPIPipeline", "full")["status"]}
    assert objects.create(document).accepted
    assert objects.replace(document, "status").accepted
    return document


def test_client_side_apply_takes_every_manifest_and_then_finds_nothing_to_do(kinds_served: ControlPlane) -> None:
    first = kinds_served.kubectl("apply", "-f", CRDS)

    again = kinds_served.kubectl("apply", "-f", CRDS)

    assert first.exit_code == 0, first.error
    assert [line.rsplit(" ", 1)[1] for line in again.output.splitlines()] == ["unchanged"] * len(KINDS), again.output


def test_server_side_apply_takes_every_manifest_a_second_time(kinds_served: ControlPlane) -> None:
    again = kinds_served.kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)

    assert again.exit_code == 0, again.error
    assert again.error == ""
    assert again.output.count(" serverside-applied\n") == len(KINDS)


def test_every_kind_is_established_and_nothing_is_held_against_its_schema(kinds_served: ControlPlane) -> None:
    listed = yaml.safe_load(kinds_served.kubectl("get", "crd", "-o", "yaml").output)

    conditions = {
        item["metadata"]["name"]: {condition["type"]: condition["status"] for condition in item["status"]["conditions"]}
        for item in listed["items"]
    }
    assert conditions == {kind.crd_name: {"NamesAccepted": "True", "Established": "True"} for kind in KINDS}


@pytest.mark.parametrize("way", [[], ["--server-side"]], ids=["client side", "server side"])
def test_every_manifest_is_applied(kinds_served: ControlPlane, namespace: str, way: list[str]) -> None:
    # Objects without a namespace would meet those of other tests: the server checks all and keeps none.
    files = ["-R", "-f", str(FOLDER), "-f", str(CONFIGS / "pipelines")]

    answer = kinds_served.kubectl("apply", "--dry-run=server", "-n", namespace, *way, *files)

    assert (answer.exit_code, answer.error) == (0, "")
    assert len(answer.output.splitlines()) == len(PATHS) + len(SAMPLES)


def test_the_names_of_the_kinds_are_words_of_kubectl(kinds_served: ControlPlane, objects: Objects) -> None:
    for kind in BY_NAME:
        assert objects.create(named(manifest(kind), f"e-{'7' * 40}")).accepted

    everything = kinds_served.kubectl("get", "paddlex", "-n", objects.namespace, "-o", "name")
    singly = [
        kinds_served.kubectl("get", kind.short_names[0], f"e-{'7' * 40}", "-n", objects.namespace) for kind in KINDS
    ]

    assert {line.partition(".")[0] for line in everything.output.splitlines()} == {name.lower() for name in BY_NAME}
    assert [answer.error for answer in singly] == [""] * len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_is_explained(objects: Objects, kind: Kind) -> None:
    documents = objects.openapi()["components"]["schemas"]
    told = documents[f"io.paddlex.hpi.v1alpha1.{kind.name}"]
    wanted = {path for path, _ in fields(schema_of(kind))}

    explained = {path: node.get("description", "") for path, node in fields(told)}

    assert wanted <= explained.keys()
    assert [path for path, words in explained.items() if not words] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kubectl_explains_a_kind_and_all_that_is_in_it(kinds_served: ControlPlane, kind: Kind) -> None:
    whole = kinds_served.kubectl("explain", kind.plural)
    tree = kinds_served.kubectl("explain", kind.plural, "--recursive")

    assert (whole.error, tree.error) == ("", "")
    assert " ".join((kind.model.__doc__ or "").split()) in " ".join(whole.output.split())
    names = {path.rsplit(".", 1)[-1].removesuffix("[]") for path, _ in fields(schema_of(kind))}
    assert names <= {line.split("\t")[0].strip() for line in tree.output.splitlines()}


def test_kubectl_explains_the_default_of_a_field(kinds_served: ControlPlane) -> None:
    explained = kinds_served.kubectl("explain", "hpip.spec.build.timeoutSeconds").output

    assert " ".join(explained.split()).endswith("Unit: seconds. Default: 300.")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_column_shows_something_of_a_full_object(objects: Objects, kind: Kind) -> None:
    document = full_object(objects, kind.name)

    table = objects.read(kind.name, document["metadata"]["name"], accept=TABLE)

    names = [column["name"] for column in table["columnDefinitions"]]
    [row] = table["rows"]
    shown = dict(zip(names, row["cells"], strict=True))
    assert names == ["Name", *(column.name for column in kind.columns)]
    assert [name for name, cell in shown.items() if cell in (None, "", "<none>", "<unknown>")] == []


def test_the_columns_tell_the_full_pipeline(kinds_served: ControlPlane, objects: Objects) -> None:
    full_object(objects, "HPIPipeline", "told")

    [head, line] = kinds_served.kubectl("get", "hpip", "-n", objects.namespace).output.splitlines()

    assert head.split() == ["NAME", "PIPELINE", "READY", "SERVING", "WANTED", "BACKEND", "HARDWARE", "AGE"]
    assert line.split()[:-1] == ["told", "OCR", "False", "1", "2", "tensorrt,", "onnxruntime", "2", "NVIDIA"]


def test_a_pipeline_can_be_scaled(kinds_served: ControlPlane, objects: Objects) -> None:
    document = with_value(replicated_pipeline(objects, "scaled"), "spec.replicas", 3)

    answer = kinds_served.kubectl("scale", "hpip/scaled", "--replicas=5", "-n", objects.namespace)

    assert (answer.exit_code, answer.error) == (0, "")
    assert objects.read("HPIPipeline", "scaled")["spec"]["replicas"] == 5
    scale = objects.read("HPIPipeline", "scaled", "scale")
    assert scale["spec"] == {"replicas": 5}
    assert scale["status"] == {"replicas": 2, "selector": document["status"]["selector"]}


def test_a_pipeline_is_not_scaled_beside_an_autoscaler(kinds_served: ControlPlane, objects: Objects) -> None:
    assert objects.create(named(manifest("HPIPipeline", "full"), "automatic")).accepted

    answer = kinds_served.kubectl("scale", "hpip/automatic", "--replicas=5", "-n", objects.namespace)

    assert answer.exit_code == 1
    assert "replicas must not be set when autoscaling is set" in answer.error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_who_writes_the_spec_does_not_touch_the_status_and_the_reverse(objects: Objects, kind: Kind) -> None:
    document = manifest(kind.name, "full")
    name = f"e-{'5' * 40}"
    full_object(objects, kind.name, name)
    before = objects.read(kind.name, name)
    other = named(copy.deepcopy(document), name)
    other["status"]["conditions"] = []
    other["metadata"]["labels"] = {"a": "b"}
    other["spec"] = before["spec"] if kind.name == "HPIEngine" else changed_spec(kind, before["spec"])

    assert objects.replace(other).accepted
    of_spec = objects.read(kind.name, name)
    assert objects.replace({**other, "spec": before["spec"]}, "status").accepted
    of_status = objects.read(kind.name, name)

    assert of_spec["status"] == before["status"]
    assert of_spec["metadata"]["labels"] == {"a": "b"}
    assert of_status["spec"] == of_spec["spec"]
    assert of_status["status"].get("conditions", []) == []
    assert of_status["metadata"]["generation"] == of_spec["metadata"]["generation"]


def changed_spec(kind: Kind, spec: Document) -> Document:
    """Return a valid spec that differs."""
    changes: dict[str, tuple[str, Any]] = {
        "HPIPipeline": ("build", {"policy": "Never"}),
        "HPIRuntime": ("state", "Withdrawn"),
        "HPINodePool": ("runtimes", []),
        "HPINode": ("pool", "other"),
    }
    field, value = changes[kind.name]
    return {**spec, field: value}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_unknown_field_is_dropped_unless_somebody_asks_for_strictness(dry_objects: Objects, kind: Kind) -> None:
    document = with_value(manifest(kind.name), "spec.newest", {"a": 1})

    lenient = dry_objects.create(document, dry_run=True, strict=False)
    strict = dry_objects.create(document, dry_run=True)

    assert lenient.accepted
    assert "newest" not in lenient.body["spec"]
    assert 'unknown field "spec.newest"' in strict.causes[0]


def test_what_is_not_ours_keeps_its_keys_and_values(dry_objects: Objects) -> None:
    inner = {"a_b": {"C": [1, 2.5, None, True, "x"]}, "empty": {}, "nothing": None}
    document = manifest("HPIPipeline")
    document["spec"] = {"config": {"inline": inner}, "inference": {"hpiConfig": {"backendConfig": inner}}}

    created = dry_objects.create(document, dry_run=True)

    assert created.body["spec"]["config"]["inline"] == inner
    assert created.body["spec"]["inference"]["hpiConfig"]["backendConfig"] == inner
