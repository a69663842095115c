"""Tensors through shared memory: what one end writes the other reads, and no description leads outside."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from hpi_agent.processes.shared_tensors import ALIGNMENT, GROWTH_BYTES, SharedTensors
from hpi_core.errors import Bug

tensors = st.dictionaries(
    st.text(max_size=5),
    npst.arrays(
        st.sampled_from(["float32", "int64", "uint8", "bool", "float16"]),
        npst.array_shapes(min_dims=0, max_side=5) | st.just((0, 3)),
    ),
    max_size=4,
)


def both_ends() -> tuple[SharedTensors, SharedTensors]:
    ours = SharedTensors.create()
    return ours, SharedTensors(os.dup(ours.file))


@given(tensors, tensors)
def test_what_one_end_writes_the_other_reads(there: dict[str, Any], back: dict[str, Any]) -> None:
    ours, theirs = both_ends()

    for writer, reader, arrays in ((ours, theirs, there), (theirs, ours, back)):
        described = writer.write(arrays)
        found = reader.views(described)

        assert list(found) == list(arrays)
        assert all(tensor["offset"] % ALIGNMENT == 0 for tensor in described)
        for name, array in arrays.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found[name], array)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("sizes", [(GROWTH_BYTES, GROWTH_BYTES + 1), (10, 5 * GROWTH_BYTES, 10)])
def test_the_memory_grows_with_what_is_written(sizes: tuple[int, ...]) -> None:
    ours, theirs = both_ends()

    for size in sizes:
        array: NDArray[np.uint8] = np.full(size, size % 251, dtype=np.uint8)
        assert np.array_equal(theirs.views(ours.write({"x": array}))["x"], array)

    assert os.fstat(ours.file).st_size >= max(sizes)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param({"shape": [GROWTH_BYTES + 1], "offset": 0}, id="too long"),
        pytest.param({"shape": [1], "offset": GROWTH_BYTES}, id="too far"),
        pytest.param({"shape": [2**62, 2**62], "offset": 0}, id="absurd"),
        pytest.param({"shape": [-1], "offset": 0}, id="negative"),
        pytest.param({"shape": [1], "offset": -8}, id="before the beginning"),
    ],
)
def test_a_description_that_leads_outside_is_a_bug(tensor: dict[str, Any]) -> None:
    ours, theirs = both_ends()
    ours.write({"x": np.ones(3, dtype=np.uint8)})

    with pytest.raises(Bug):
        theirs.views([{"name": "x", "dtype": "uint8", **tensor}])

    ours.close()
    theirs.close()


def test_a_peer_cannot_cut_the_memory_off() -> None:
    ours, theirs = both_ends()
    ours.write({"x": np.ones(3, dtype=np.uint8)})

    with pytest.raises(PermissionError):
        os.ftruncate(theirs.file, 0)

    ours.close()
    theirs.close()
