"""Models on a volume of the cluster: a damaged one, and one in Paddle's own format."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from first_light.stage import NAMESPACE, Stage
from models.paddle_models import paddle_model

CLAIM: Final = "models"
ON_NODE: Final = "/var/lib/models"
"""Folder of the node."""
DAMAGED: Final = f"pvc://{CLAIM}/damaged/PP-OCRv6_rec_small.onnx"
CLASSIFIER: Final = f"pvc://{CLAIM}/classifier"
CASE: Final = "tiny"
"""Which model of `models.paddle_models`: 10 classes, images of 32 by 32."""


def provide(stage: Stage) -> None:
    """Write the models and make the volume and the claim by which pods read them."""
    folder = stage.cluster.host_path(ON_NODE)
    (folder / "damaged").mkdir()
    whole = _package_file("rapidocr", "models/PP-OCRv6_rec_small.onnx").read_bytes()
    (folder / "damaged" / "PP-OCRv6_rec_small.onnx").write_bytes(whole[: len(whole) // 2])
    shutil.copytree(paddle_model(CASE), folder / "classifier")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    size = {"storage": "1Gi"}
    shared = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    stage.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": CLAIM},
            "spec": {
                **shared,
                "capacity": size,
                "hostPath": {"path": ON_NODE, "type": "Directory"},
                "claimRef": {"namespace": NAMESPACE, "name": CLAIM},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": NAMESPACE},
            "spec": {**shared, "volumeName": CLAIM, "resources": {"requests": size}},
        },
    )


def _package_file(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations, f"{package} is not installed; run `make set-up`"
    return Path(next(iter(spec.submodule_search_locations))) / path
