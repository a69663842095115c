"""`hpi-operator plan` as a stranger uses it: with no cluster, with some files, with the wrong ones."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_operator.__main__ import main
from support.manifests import Document
from support.nodes import PlayedNode, a_node
from support.observed import CPU_RUNTIME, GPU_RUNTIME, a_digest, a_pipeline, an_hpi_node, on, uid_of, usual_runtimes
from support.project import ROOT

SAMPLE = ROOT / "configs" / "pipelines" / "ocr.yaml"


def written(pipeline: HPIPipeline) -> Document:
    """Return a pipeline as a person would write it."""
    document: Document = pipeline.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return document


def a_file(folder: Path, name: str, *documents: Document, as_list: bool = False) -> str:
    """Write documents to a file, one after another or as one list, and return its name."""
    path = folder / name
    whole: list[Document] = (
        [{"apiVersion": "v1", "kind": "List", "items": list(documents)}] if as_list else [*documents]
    )
    path.write_text(yaml.safe_dump_all(whole), encoding="utf-8")
    return str(path)


def a_cluster(*nodes: PlayedNode, passed: str = CPU_RUNTIME) -> list[Document]:
    """Return Nodes, the words of their agents, and runtimes, as `kubectl get -o yaml` prints them."""
    told = [{"name": passed, "lockDigest": a_digest("a"), "state": "Usable", "selfTest": {"state": "Passed"}}]
    documents: list[Document] = []
    for node in nodes:
        documents.append({**node.manifest, "metadata": {**node.manifest["metadata"], "uid": uid_of(node.name)}})
        documents.append(written(an_hpi_node(node, status={"runtimes": told})))  # type: ignore[arg-type]
    return [*documents, *(written(one) for one in usual_runtimes())]  # type: ignore[arg-type]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command; return exit status, output, errors."""
    status = main(["plan", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_sample_is_planned_without_any_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = told(capsys, "-f", str(SAMPLE))

    assert status == 0
    assert output.startswith("HPIPipeline default/ocr: OCR, 2 replicas on CPU\n")
    assert "Node supposed-cpu, amd64, on which the runtime has passed its self-test" in output
    assert "HPIRuntime supposed-hpi-cpu 1.0.0 for amd64" in output
    for line in ("Deployment", "Service", "NetworkPolicy"):
        assert f"\n  {line}" in output
    assert "http://ocr.default.svc" in output


def test_what_is_supposed_has_what_is_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    needs = {
        "products": ["NVIDIA L4"],
        "minComputeCapability": "8.9",
        "minDriver": "550.54.15",
        "minMemoryBytes": 20 * 2**30,
        "architectures": ["arm64"],
        "nodeSelector": {"pool": "a"},
    }
    pipeline = a_pipeline(
        placement=on("NVIDIA", count=2, requirements=needs),
        runtime={"variant": "hpi-gpu-cu126", "versionConstraint": ">=1.4,<2"},
    )

    status, output, _ = told(capsys, "-f", a_file(tmp_path, "p.yaml", written(pipeline)))

    assert status == 0, output
    assert "Node supposed-nvidia, arm64, nvidia.com/gpu: 2" in output
    assert "HPIRuntime supposed-hpi-gpu-cu126 1.4 for arm64" in output
    assert "2 nvidia.com/gpu a replica" in output
    assert "pool=a" in output


@pytest.mark.parametrize("as_list", [False, True])
def test_nodes_of_a_file_decide(capsys: pytest.CaptureFixture[str], tmp_path: Path, as_list: bool) -> None:
    pipeline = a_file(tmp_path, "p.yaml", written(a_pipeline(placement=on("NVIDIA", "CPU"))))
    nodes = a_file(tmp_path, "n.yaml", *a_cluster(a_node("n-1"), a_node("n-2")), as_list=as_list)

    status, output, _ = told(capsys, "-f", pipeline, "-f", nodes)

    assert status == 0
    assert "CPU with hpi-cpu-1.0.0 on 2 usable nodes" in output
    assert "class NVIDIA: 2 nodes (such as n-1): no nvidia.com/gpu" in output
    assert "supposed-cpu" not in output


def test_a_runtime_that_has_not_passed_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pipeline = a_file(tmp_path, "p.yaml", written(a_pipeline(placement=on("NVIDIA"))))
    nodes = a_file(tmp_path, "n.yaml", *a_cluster(a_node("g", gpus=1)))

    _, output, _ = told(capsys, "-f", pipeline, "-f", nodes)

    assert f"RuntimeNotUsable: the self-test of {GPU_RUNTIME} has not passed yet on the node that it fits" in output


def test_a_cluster_without_a_fitting_node_fails_and_says_what_each_lacks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline = a_file(tmp_path, "p.yaml", written(a_pipeline(placement=on("Ascend"))))
    nodes = a_file(tmp_path, "n.yaml", *a_cluster(a_node("n")))

    status, output, _ = told(capsys, "-f", pipeline, "-f", nodes)

    assert status == 1
    assert "NoMatchingNode: class Ascend: 1 node (such as n): no huawei.com/Ascend310P or the like" in output
    assert "would apply\n  nothing" in output


def test_nodes_written_by_hand_need_no_uid(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    documents = a_cluster(a_node("n"))
    del documents[0]["metadata"]["uid"]

    _, output, _ = told(
        capsys, "-f", a_file(tmp_path, "p.yaml", written(a_pipeline())), "-f", a_file(tmp_path, "n.yaml", *documents)
    )

    assert "on 1 usable node" in output


def test_a_config_map_of_a_file_is_read_and_one_that_is_not_there_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline = a_pipeline(pipeline=..., config={"configMapKeyRef": {"name": "pipelines", "key": "ocr.yaml"}})
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "pipelines", "namespace": "team-a"},
        "data": {"ocr.yaml": "pipeline_name: OCR\nsince: 2026-01-01\n"},
    }
    file = a_file(tmp_path, "p.yaml", written(pipeline))

    without = told(capsys, "-f", file)
    found = told(capsys, "-f", file, "-f", a_file(tmp_path, "c.yaml", config))

    assert without[0] == 1
    assert "ConfigMap team-a/pipelines is not there: its content is needed, give it with -f" in without[1]
    assert found[0] == 0


def test_secrets_are_supposed_to_be_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pipeline = a_pipeline(serving={"auth": {"type": "BearerToken", "tokensSecretRef": {"name": "callers"}}})

    status, output, _ = told(capsys, "-f", a_file(tmp_path, "p.yaml", written(pipeline)))

    assert status == 0
    assert "Secret team-a/callers is there" in output


@pytest.mark.parametrize(("arguments", "has_route"), [([], True), (["--without-gateway-api"], False)])
def test_the_gateway_api_is_supposed_and_can_be_left_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], has_route: bool
) -> None:
    pipeline = a_pipeline(route={"parentRefs": [{"name": "public"}]})

    _, output, _ = told(capsys, "-f", a_file(tmp_path, "p.yaml", written(pipeline)), *arguments)

    assert ("\n  HTTPRoute" in output) is has_route


def test_yaml_can_be_read_back_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    _, output, _ = told(capsys, "-f", str(SAMPLE), "-o", "yaml")

    documents = [one for one in yaml.safe_load_all(output) if one]
    assert [one["kind"] for one in documents] == [
        "ConfigMap",
        "ServiceAccount",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ]
    assert output.startswith("# supposed: HPIRuntime supposed-hpi-cpu")
    assert "---\n# 2 replicas of revision" in output


def test_json_has_objects_reasons_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    _, output, _ = told(capsys, "-f", str(SAMPLE), "-o", "json")

    [one] = json.loads(output)
    assert one["pipeline"] == {"name": "ocr", "namespace": "default"}
    assert {"object", "why", "manifest"} <= set(one["apply"][0])
    assert {condition["type"] for condition in one["status"]["conditions"]} >= {"Accepted", "Placed", "Ready"}


def test_several_pipelines_are_planned_one_after_another(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = a_file(tmp_path, "p.yaml", written(a_pipeline("one")), written(a_pipeline("two")))

    _, output, _ = told(capsys, "-f", file)

    assert output.count("HPIPipeline team-a/") == 2


def test_a_pipeline_may_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SAMPLE.read_text(encoding="utf-8")))

    status, output, _ = told(capsys, "-f", "-", "--namespace", "mine")

    assert status == 0
    assert output.startswith("HPIPipeline mine/ocr")


def test_what_the_api_server_has_added_does_not_matter(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    live = written(a_pipeline())
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": [{}], "creationTimestamp": "2026-01-01"}
    live["status"] = {"observedGeneration": 3}

    assert told(capsys, "-f", a_file(tmp_path, "p.yaml", live))[0] == 0


REFUSED: list[tuple[str, str]] = [
    ("a: [1", "cannot be read as YAML"),
    ("- 1", "every document must be an object with kind and metadata"),
    ("kind: Node", "every document must be an object with kind and metadata"),
    ("", "no HPIPipeline is in there"),
    (yaml.safe_dump({**written(a_pipeline()), "spec": {"pipeline": "OCR", "replica": 1}}), "did you mean"),
    (
        yaml.safe_dump({"apiVersion": "hpi.paddlex.io/v1", "kind": "HPIRuntime", "metadata": {"name": "x"}}),
        "HPIRuntime must have apiVersion hpi.paddlex.io/v1alpha1",
    ),
    (
        yaml.safe_dump(
            {
                "apiVersion": "hpi.paddlex.io/v1alpha1",
                "kind": "HPINodePool",
                "metadata": {"name": "x"},
                "spec": {"a": 1},
            }
        ),
        "HPINodePool x",
    ),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8")

    status, _, errors = told(capsys, "-f", str(path))

    assert status == 2
    assert words in errors
    assert str(path) in errors


def test_a_file_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, errors = told(capsys, "-f", str(tmp_path / "none.yaml"))

    assert status == 2
    assert "cannot be read" in errors


def test_a_tag_is_no_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("!!python/object/apply:os.system ['true']", encoding="utf-8")

    assert told(capsys, "-f", str(path))[0] == 2


def test_builds_ahead_are_told_with_what_comes_after_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pipeline: Any = a_pipeline(build={"policy": "Prebuild"})
    nodes = a_file(tmp_path, "n.yaml", *a_cluster(a_node("n")))

    _, output, _ = told(capsys, "-f", a_file(tmp_path, "p.yaml", written(pipeline)), "-f", nodes)

    assert "\n  Job " in output
    assert "then, and not yet, Deployments\n  engines are built ahead: 0 of 1 builds have ended" in output
