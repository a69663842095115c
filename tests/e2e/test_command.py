"""`hpi-agent serve` as a person types it: what it says and how it ends when it cannot serve."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.configuration import configs_directory
from hpi_agent.engines.onnxruntime import read_metadata
from hpi_agent.models.assemble import assemble
from hpi_agent.store.directory import Store
from support.servers import on_backend, sample_manifest, serve_command, serving

DETECTOR = "PP-OCRv6_small_det"
WEIGHTS = "package://rapidocr/models/PP-OCRv6_det_small.onnx"


def serve(manifest: dict[str, Any] | str, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    return subprocess.run(
        serve_command(store, *more), input=text, capture_output=True, text=True, timeout=300, check=False
    )


def with_detector(source: str) -> dict[str, Any]:
    manifest = sample_manifest()
    manifest["spec"]["modules"][0]["model"]["source"] = source
    return manifest


@pytest.fixture
def model_directory(store: Path, tmp_path: Path) -> Path:
    folder = configs_directory() / "models"
    model = assemble(DETECTOR, WEIGHTS, None, store=Store(store), models=folder, read_metadata=read_metadata)
    copy = tmp_path / "detector"
    shutil.copytree(model.directory, copy)
    return copy


REFUSED = {
    "an unknown field": (sample_manifest(replica=2), "spec.replica: is not a known field; did you mean 'replicas'?"),
    "an unknown backend": (on_backend("openvin"), "'paddle', 'tensorrt', 'om'], got 'openvin'"),
    "a backend of another device": (on_backend("tensorrt"), "tensorrt needs the device gpu, and the device is cpu"),
    "several devices": (sample_manifest(inference={"device": "gpu:0,1"}), "must be one device, got 'gpu:0,1'"),
    "an engine of PaddleX's": (sample_manifest(inference={"useHpip": False}), "spec.inference.useHpip"),
    "no YAML": ("a: [", "cannot be read as YAML"),
}


@pytest.mark.parametrize(("manifest", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_manifest_that_cannot_be_honoured_ends_with_2_and_says_why(
    store: Path, manifest: dict[str, Any] | str, says: str
) -> None:
    done = serve(manifest, store)

    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("device", ["gpu:63", "npu:63"])
def test_a_device_that_this_machine_has_not_is_refused_by_name_with_what_was_found(store: Path, device: str) -> None:
    done = serve(sample_manifest(inference={"device": device}), store)

    assert done.returncode == 1, done.stderr
    assert f"this machine has no device {device}; found: " in done.stderr
    assert "Traceback" not in done.stderr


FAILED = {
    "a package that is not installed": ("package://nobody/model.onnx", "no installed Python package 'nobody'"),
    "a file that the package lacks": ("package://rapidocr/models/det.onnx", "PP-OCRv6_det_small.onnx"),
    "a directory that is not there": ("file:///nowhere/detector", "there is no directory /nowhere/detector"),
}


@pytest.mark.parametrize(("source", "says"), FAILED.values(), ids=FAILED.keys())
def test_a_missing_model_ends_with_1_and_names_it(store: Path, source: str, says: str) -> None:
    done = serve(with_detector(source), store)

    assert done.returncode == 1, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("size", [0, 1, 5_000_000], ids=["empty", "one byte", "half"])
def test_a_truncated_model_ends_with_1_and_names_the_file(store: Path, model_directory: Path, size: int) -> None:
    with (model_directory / "inference.onnx").open("r+b") as file:
        file.truncate(size)

    done = serve(with_detector(f"file://{model_directory}"), store)

    assert done.returncode == 1, done.stderr
    assert "inference.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_under_a_wrong_name_is_refused(store: Path, model_directory: Path) -> None:
    manifest = with_detector(f"file://{model_directory}")
    manifest["spec"]["modules"][0]["model"]["name"] = "PP-OCRv5_mobile_det"

    done = serve(manifest, store)

    assert done.returncode != 0
    assert "belongs to the model 'PP-OCRv6_small_det'" in done.stderr


def test_a_digest_that_differs_is_refused_with_both(store: Path) -> None:
    manifest = sample_manifest()
    manifest["spec"]["modules"][0]["model"]["digest"] = "sha256:" + "0" * 64

    done = serve(manifest, store)

    assert done.returncode != 0
    assert len(re.findall(r"sha256:[0-9a-f]{64}", done.stderr)) >= 2


def test_a_port_that_is_taken_ends_with_1_and_names_it(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve(sample_manifest(), store, "--port", str(port))

    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_a_store_that_cannot_be_written_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    done = serve(sample_manifest(), tmp_path / "file")

    assert done.returncode == 1
    assert "--store" in done.stderr


def test_a_file_that_is_not_there_is_refused_by_name() -> None:
    command = [sys.executable, "-m", "hpi_agent", "serve", "-f", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr


def test_what_only_a_cluster_honours_is_named_and_the_rest_is_served(store: Path) -> None:
    manifest = sample_manifest(
        placement={"policy": "First"}, rollout={"strategy": "Canary", "steps": [{"weightPercent": 10}]}
    )

    with serving(manifest, store) as server:
        told = server.events[0]["notApplicable"]

    assert told == ["spec.replicas", "spec.placement", "spec.rollout"]


def test_each_model_is_shown_with_what_was_asked_and_what_was_obtained(store: Path) -> None:
    with serving(on_backend("onnxruntime"), store) as server:
        models = server.wait_for("ready")["models"]

    assert [model["name"] for model in models] == [DETECTOR, "PP-OCRv6_small_rec"]
    for model in models:
        assert model["asked"]["backend"] == "onnxruntime"
        assert (model["backend"], model["precision"], model["reason"]) == ("onnxruntime", "float32", "asked for")
        assert model["digest"].startswith("sha256:")


def test_one_model_alone_is_served_by_the_protocol_and_has_no_ocr(store: Path) -> None:
    manifest = sample_manifest()
    manifest["spec"] = {"module": {"name": "text_detection", "model": {"name": DETECTOR, "source": WEIGHTS}}}

    with serving(manifest, store) as server, server.client() as client:
        metadata = client.get(f"/v2/models/{DETECTOR}")
        refused = client.post("/ocr", content=b"x", headers={"Content-Type": "image/png"})

    assert metadata.status_code == 200
    assert refused.status_code == 422
    assert "/v2/models" in refused.json()["errorMsg"]


@pytest.mark.slow
def test_the_demonstration_reads_the_page_and_writes_the_picture(store: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.jpg"
    command = [sys.executable, "-m", "hpi_agent", "demo", "--store", str(store), "--picture", str(picture)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr
    assert "Region-based segmentation" in done.stdout
    assert "OPENVINO" in done.stdout
    assert "ONNXRUNTIME" in done.stdout
    assert picture.read_bytes()[:3] == b"\xff\xd8\xff"
