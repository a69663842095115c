from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.samples.normalisation import RECOGNITION, read_normalisation, read_scale
from hpi_core.errors import Refused


@pytest.mark.parametrize(
    ("written", "scale"),
    [
        ("1./255.", 1 / 255),
        ("1/255", 1 / 255),
        (" 1.0 / 255.0 ", 1 / 255),
        ("0.5", 0.5),
        (".5e1", 5.0),
        (None, 1 / 255),
        (1, 1.0),
    ],
)
def test_a_scale_is_a_number_or_a_fraction(written: Any, scale: float) -> None:
    assert read_scale("scale", written) == scale


@pytest.mark.parametrize(
    "written",
    ["1/0", "1//255", "1/255/2", "", "-", "1e999", "__import__('os')", "1" * 65, "１/255", True, [1], float("nan")],
)
def test_anything_else_is_refused_and_never_evaluated(written: Any) -> None:
    with pytest.raises(Refused, match=r"scale: must be a number or a fraction such as '1\./255\.'"):
        read_scale("scale", written)


@given(st.text())
def test_no_text_fails_in_another_way(written: str) -> None:
    with suppress(Refused):
        assert read_scale("scale", written) >= 0


def test_a_line_of_text_goes_from_minus_one_to_one() -> None:
    picture = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)

    tensor = RECOGNITION.apply(picture)

    assert tensor.shape == (3, 1, 2)
    assert np.abs(tensor - np.array([-1, 1])).max() <= 1e-7


def test_every_channel_has_its_own_mean_and_deviation() -> None:
    normalisation = read_normalisation("n", {"mean": [0.0, 0.5, 1.0], "std": [1.0, 0.5, 2.0], "scale": 1.0})

    tensor = normalisation.apply(np.ones((1, 1, 3), dtype=np.uint8))

    assert tensor.reshape(3).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"mean": [1, 2]},
        {"mean": "0.5"},
        {"std": [1, 1, 0]},
        {"std": 0},
        {"std": [1, float("inf"), 1]},
        {"mean": [True, 1, 1]},
    ],
)
def test_means_and_deviations_that_cannot_be_used_are_refused(arguments: Any) -> None:
    with pytest.raises(Refused, match=r"correct inference\.yml"):
        read_normalisation("NormalizeImage", arguments)
