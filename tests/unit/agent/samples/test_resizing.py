from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from hpi_agent.samples.resizing import STRIDE, PageLimits, line_width, resize

side = st.integers(1, 40)
pictures = st.tuples(side, side, st.just(3)).flatmap(lambda shape: arrays(np.uint8, shape))
sides = st.integers(1, 5000)


@given(pictures, side, side)
def test_a_resized_picture_stays_between_its_darkest_and_lightest_pixel(
    picture: NDArray[np.uint8], width: int, height: int
) -> None:
    resized = resize(picture, (width, height))

    assert resized.shape == (height, width, 3)
    assert picture.min() <= resized.min() <= resized.max() <= picture.max()


@given(pictures, side, side)
def test_resizing_a_mirror_image_gives_the_mirror_image(picture: NDArray[np.uint8], width: int, height: int) -> None:
    mirrored = resize(picture[:, ::-1], (width, height))[:, ::-1].astype(int)

    # A value that lies between two grey levels may be rounded to either.
    assert np.abs(mirrored - resize(picture, (width, height))).max() <= 1


def test_a_step_between_two_pixels_is_interpolated_at_half_integer_centres() -> None:
    picture = np.repeat(np.array([[0, 100]], dtype=np.uint8)[:, :, None], 3, axis=2)

    assert resize(picture, (4, 1))[0, :, 0].tolist() == [0, 25, 75, 100]


@given(sides, sides, st.integers(32, 2000), st.sampled_from(["min", "max", "resize_long"]), st.integers(64, 4000))
def test_a_page_has_whole_strides_within_its_longest_side(
    width: int, height: int, limit: int, kind: str, longest: int
) -> None:
    got = PageLimits(limit, kind, longest).size(width, height)  # type: ignore[arg-type]

    assert all(size % STRIDE == 0 and size >= STRIDE for size in got)
    assert max(got) <= longest + STRIDE / 2


def test_the_shorter_side_is_raised_and_the_longer_one_lowered() -> None:
    assert PageLimits(736, "min").size(420, 210) == (1472, 736)
    assert PageLimits(736, "min").size(827, 1170) == (832, 1184)
    assert PageLimits(960, "max").size(827, 1170) == (672, 960)
    assert PageLimits(960, "resize_long").size(100, 50) == (960, 480)


@given(sides, sides, st.integers(48, 400))
def test_a_line_is_never_wider_than_its_tensor(width: int, height: int, usual: int) -> None:
    drawn, padded = line_width(width, height, 48, usual, 3200)

    assert 1 <= drawn <= padded <= 3200
    assert padded >= min(usual - 1, 3200)
