"""Pictures are prepared as PaddleX prepares them: its own predictors are asked for what they would feed.

PaddleX is imported in a process of its own: an import cannot be undone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpi_agent.samples.lines import render_lines
from hpi_agent.samples.pages import render_pages
from hpi_agent.samples.preparation import LinePreparation, PagePreparation, PicturePreparation
from hpi_agent.samples.read_preparation import read_preparation

GREY_LEVEL = 1 / 255 / 0.224
"""One grey level after normalisation by the smallest standard deviation: OpenCV rounds its weights to 11 bits, so that
a resized pixel may fall to the other side of a half."""

ASK = """
    import json, sys
    from pathlib import Path
    from types import SimpleNamespace
    import numpy as np
    from hpi_agent.pipelines import paddlex as ours
    folder = Path(sys.argv[1])
    ours.prepare_import(folder / "home")
    from paddlex.inference.models.image_classification.predictor import ClasRunnerPredictor
    from paddlex.inference.models.text_detection.predictor import TextDetRunnerPredictor
    from paddlex.inference.models.text_recognition.predictor import TextRecRunnerPredictor

    class Fed(Exception):
        pass

    def record(x):
        raise Fed(x[0])

    DETECTOR = {"limit_side_len": None, "limit_type": None, "thresh": None, "box_thresh": None, "unclip_ratio": None,
                "input_shape": None, "max_side_limit": 4000}
    KINDS = {"text_detection": (TextDetRunnerPredictor, DETECTOR),
             "text_recognition": (TextRecRunnerPredictor, {"input_shape": None, "return_word_box": False}),
             "classification": (ClasRunnerPredictor, {"topk": None})}
    for number, case in enumerate(json.loads((folder / "cases.json").read_text())):
        kind, defaults = KINDS[case["family"]]
        predictor = kind.__new__(kind)
        # What the constructor sets, without the model that it would load.
        vars(predictor).update(
            _model_config=case["inference"], model_name=case["name"], runner=record,
            batch_sampler=SimpleNamespace(batch_size=8), **{**defaults, **case["settings"]})
        built = predictor._build()
        names = ("preprocessors", "postprocessors") if case["family"] == "classification" else ("pre_tfs", "post_op")
        vars(predictor).update(zip(names, built))
        pictures = [np.load(folder / f"{number}-{index}.npy") for index in range(case["pictures"])]
        try:
            predictor.process(SimpleNamespace(instances=pictures, input_paths=[], page_indexes=[]))
        except Fed as fed:
            np.save(folder / f"fed-{number}.npy", fed.args[0])
"""

NORMALISED = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
DECODED = {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}}


def detector(name: str = "PP-OCRv6_small_det", settings: Any = None, **resize: Any) -> dict[str, Any]:
    operators = [
        DECODED,
        {"DetLabelEncode": None},
        {"DetResizeForTest": resize or None},
        {"NormalizeImage": {**NORMALISED, "scale": "1./255.", "order": "hwc"}},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image"]}},
    ]
    return case(name, "text_detection", operators, {"name": "DBPostProcess"}, settings)


def recogniser(settings: Any = None) -> dict[str, Any]:
    operators = [
        DECODED,
        {"MultiLabelEncode": {"gtc_encode": "NRTRLabelEncode"}},
        {"RecResizeImg": {"image_shape": [3, 48, 320]}},
    ]
    post = {"name": "CTCLabelDecode", "character_dict": ["a", "b"]}
    return case("PP-OCRv6_small_rec", "text_recognition", operators, post, settings)


def classifier(*sizes: dict[str, Any]) -> dict[str, Any]:
    operators = [
        *sizes,
        {"NormalizeImage": {**NORMALISED, "scale": 0.00392156862745098, "order": "", "channel_num": 3}},
        {"ToCHWImage": None},
    ]
    return case("ResNet18", "classification", operators, {"Topk": {"topk": 5}}, None)


def case(name: str, family: str, operators: list[Any], post: dict[str, Any], settings: Any) -> dict[str, Any]:
    inference = {"Global": {"model_name": name}, "PreProcess": {"transform_ops": operators}, "PostProcess": post}
    return {"name": name, "family": family, "inference": inference, "settings": settings or {}}


PAGES = [page.picture for page in render_pages(7)]
LINES = [line.picture for page in render_lines(7) for line in page]

CASES: dict[str, tuple[dict[str, Any], list[NDArray[np.uint8]]]] = {
    "a page whose shorter side is raised": (detector(settings={"limit_side_len": 736, "limit_type": "min"}), PAGES[:1]),
    "a page whose longer side is lowered": (detector(resize_long=960), PAGES[1:2]),
    "a page with neither, official detector": (detector(), PAGES[1:2]),
    "a page with neither, another detector": (detector("PP-OCRv4_mobile_seal_det"), PAGES[3:4]),
    "a page bounded by its longest side": (
        detector(settings={"limit_side_len": 736, "limit_type": "min", "max_side_limit": 1000}),
        PAGES[2:3],
    ),
    "a page whose longer side is made": (detector(settings={"limit_type": "resize_long"}), PAGES[3:4]),
    "a page of exactly one size": (detector(settings={"input_shape": [3, 640, 480]}), PAGES[2:3]),
    "a page of the size of the file": (detector(image_shape=[512, 640]), PAGES[2:3]),
    "a page smaller than 64 pixels": (detector(settings={"limit_side_len": 32}), [PAGES[0][:20, :30]]),
    "one short line": (recogniser(), LINES[:1]),
    "a batch of lines": (recogniser(), LINES[8:14]),
    "a line beyond the widest": (recogniser(), [np.tile(LINES[-2], (1, 4, 1))]),
    "lines of one width": (recogniser({"input_shape": [3, 48, 256]}), LINES[:3]),
    "a picture by its shorter side": (
        classifier({"ResizeImage": {"resize_short": 256}}, {"CropImage": {"size": 224}}),
        PAGES[1:2],
    ),
    "a picture of one size": (classifier({"ResizeImage": {"size": [160, 80]}}), LINES[12:13]),
    "a picture by one of Pillow's filters": (
        classifier(
            {"ResizeImage": {"resize_short": 232, "backend": "pil", "interpolation": "bicubic"}},
            {"CropImage": {"size": 224}},
        ),
        PAGES[2:3],
    ),
}


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], NDArray[np.float32]]:
    """Return what PaddleX's own predictor feeds to its model in a case."""
    folder = tmp_path_factory.mktemp("fed")
    asked = [{**wanted, "pictures": len(pictures)} for wanted, pictures in CASES.values()]
    (folder / "cases.json").write_text(json.dumps(asked))
    for number, (_, pictures) in enumerate(CASES.values()):
        for index, picture in enumerate(pictures):
            # PaddleX takes arrays for what OpenCV reads: blue first.
            np.save(folder / f"{number}-{index}.npy", np.ascontiguousarray(picture[:, :, ::-1]))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ASK), str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    return lambda name: np.load(folder / f"fed-{list(CASES).index(name)}.npy")


@pytest.mark.parametrize("name", CASES)
def test_a_picture_becomes_the_tensor_that_paddlex_makes_of_it(
    name: str, fed: Callable[[str], NDArray[np.float32]]
) -> None:
    wanted, pictures = CASES[name]
    preparation = read_preparation(wanted["name"], wanted["family"], wanted["inference"], wanted["settings"])

    if isinstance(preparation, LinePreparation):
        got = preparation.tensor(pictures)
    else:
        assert isinstance(preparation, PagePreparation | PicturePreparation)
        got = preparation.tensor(pictures[0])

    theirs = fed(name)
    assert (got.shape, got.dtype) == (theirs.shape, theirs.dtype)
    difference = float(np.abs(got - theirs).max())
    print(f"{name}: largest difference {difference:.2e}")
    assert difference <= GREY_LEVEL * 1.001
