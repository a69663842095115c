"""Models in Paddle's own format with seeded weights, made once by the Python that has Paddle and kept in a cache.

`tiny` and `tiny_legacy` take a millisecond; the others have the layers and the weight of what they are named after. The
cache is named after the digest of all that makes the models and is filled by renames: tests that run at once share it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_core.digest import digest_of_bytes
from support.paddle_environment import paddle_python

PROGRAM: Final = Path(__file__).with_name("paddle_program.py")
MAKING_SECONDS: Final = 120
CHARACTERS: Final = [chr(code) for code in range(33, 127)] + ["é"]
"""95 characters; with the blank before and the space behind them the classes of `crnn` are 97."""

Profile = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class PaddleCase:
    """One model of this file."""

    model_name: str
    """The registered name of PaddleX that its `inference.yml` gives."""
    profile: Profile
    """Smallest, usual and largest shape of every input."""
    transforms: Sequence[Any]
    post_process: Mapping[str, Any]

    def inference_yml(self) -> dict[str, Any]:
        """Return the `inference.yml` of the model."""
        shapes = {name: [list(shape) for shape in shapes] for name, shapes in self.profile.items()}
        backends = {"paddle_infer": {"trt_dynamic_shapes": shapes}, "tensorrt": {"dynamic_shapes": shapes}}
        return {
            "Global": {"model_name": self.model_name},
            "PreProcess": {"transform_ops": list(self.transforms)},
            "PostProcess": dict(self.post_process),
            "Hpi": {"backend_configs": backends},
        }


NORMALISATION: Final = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def classifier(model_name: str, side: int, classes: int, batch: int) -> PaddleCase:
    transforms = [
        {"ResizeImage": {"resize_short": side * 8 // 7}},
        {"CropImage": {"size": side}},
        {"NormalizeImage": {"channel_num": 3, "order": "", "scale": 1 / 255, **NORMALISATION}},
        {"ToCHWImage": None},
    ]
    topk = {"Topk": {"topk": 5, "label_list": [f"class{number}" for number in range(classes)]}}
    one = (1, 3, side, side)
    return PaddleCase(model_name, {"x": (one, one, (batch, 3, side, side))}, transforms, topk)


DETECTOR: Final = PaddleCase(
    "PP-OCRv5_mobile_det",
    {"x": ((1, 3, 32, 32), (1, 3, 640, 640), (1, 3, 1280, 1280))},
    [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"DetLabelEncode": None},
        {"DetResizeForTest": {"resize_long": 960}},
        {"NormalizeImage": {**NORMALISATION, "scale": "1./255.", "order": "hwc"}},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
    ],
    {"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6, "max_candidates": 1000, "unclip_ratio": 1.5},
)

RECOGNISER: Final = PaddleCase(
    "PP-OCRv5_mobile_rec",
    {"x": ((1, 3, 48, 160), (1, 3, 48, 320), (8, 3, 48, 3200))},
    [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
        {"RecResizeImg": {"image_shape": [3, 48, 320]}},
        {"KeepKeys": {"keep_keys": ["image", "label_ctc", "label_gtc", "length", "valid_ratio"]}},
    ],
    {"name": "CTCLabelDecode", "character_dict": CHARACTERS},
)

CASES: Final[Mapping[str, PaddleCase]] = {
    "tiny": classifier("PP-LCNet_x0_25", 32, 10, 8),
    "tiny_legacy": classifier("PP-LCNet_x0_25", 32, 10, 8),
    "db_detector": DETECTOR,
    "db_detector_v4": DETECTOR,
    "crnn": RECOGNISER,
    "resnet18": classifier("ResNet18", 224, 1000, 8),
    "several": PaddleCase(
        "RT-DETR-L",
        {
            "im_shape": ((1, 2), (1, 2), (8, 2)),
            "image": ((1, 3, 32, 32), (1, 3, 64, 64), (8, 3, 64, 96)),
            "scale_factor": ((1, 2), (1, 2), (8, 2)),
        },
        [],
        {},
    ),
    "inconvertible": PaddleCase("PP-LCNet_x0_25", {"x": ((1, 3), (1, 3), (1, 3))}, [], {}),
}
"""By name; `db_detector_v4` is the detector with its program as Paddle 3.3 would have written it."""


def paddle_model(name: str, folder: Path | None = None) -> Path:
    """Return the directory of a model: program, weights and `inference.yml`.

    Args:
        name: One of `CASES`.
        folder: Where to copy it; None: the directory in the cache, which is not to be written.
    """
    cached = cache_folder() / name
    if not cached.is_dir():
        _make(name, cached)
    if folder is None:
        return cached
    return Path(shutil.copytree(cached, folder))


def cache_folder() -> Path:
    """Return the cache of these models: `$HPI_TEST_MODELS`, else a folder of this user's beside other caches."""
    chosen = os.environ.get("HPI_TEST_MODELS")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = digest_of_bytes([PROGRAM.read_bytes(), Path(__file__).read_bytes(), str(paddle_python()).encode()])
    return (Path(chosen) if chosen else base / "hpi-test-models") / digest.removeprefix("sha256:")[:16]


def _make(name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as place:
        made = Path(place) / name
        made.mkdir()
        command = [str(paddle_python()), "-I", str(PROGRAM), name, str(made)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=MAKING_SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        for extra in made.glob("*.info"):
            extra.unlink()
        text = yaml.safe_dump(CASES[name].inference_yml(), allow_unicode=True, sort_keys=False)
        (made / "inference.yml").write_text(text, encoding="utf-8")
        try:
            made.rename(target)
        except OSError:
            # Another test run was faster; what it made is the same.
            assert target.is_dir()
