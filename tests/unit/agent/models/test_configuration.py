"""The data files of the project: where they lie, and that every part belongs to the model it is named after."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpi_agent.configuration import configs_directory

PARTS = sorted((configs_directory() / "models").glob("*.yml"))


def test_a_checkout_has_its_data_files_beside_the_sources() -> None:
    folder = configs_directory()

    assert folder == Path(__file__).resolve().parents[4] / "configs"
    assert (folder / "pipelines" / "ocr.yaml").is_file()


def test_there_are_parts_to_check() -> None:
    assert {path.stem for path in PARTS} >= {"PP-OCRv6_small_det", "PP-OCRv6_small_rec"}


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_the_part_of_a_model_is_named_after_it(path: Path) -> None:
    part = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert part["Global"]["model_name"] == path.stem
    assert {"PreProcess", "PostProcess"} <= set(part)
