"""Who made an ONNX file, written at its end."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.built_by import KEY, builder_of, with_builder
from hpi_agent.engines.protobuf_wire import Malformed
from models import graphs

ADD = graphs.add().proto.SerializeToString()

builders = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=25)


@given(builders)
def test_what_was_written_is_read_again(builder: str) -> None:
    assert builder_of(with_builder(ADD, builder)) == builder


@given(builders)
def test_onnx_itself_reads_it_as_custom_metadata_of_the_same_model(builder: str) -> None:
    marked = onnx.load_from_string(with_builder(ADD, builder))

    assert {entry.key: entry.value for entry in marked.metadata_props} == {KEY: builder}
    assert marked.graph == graphs.add().proto.graph


def test_the_last_of_two_makers_counts() -> None:
    assert builder_of(with_builder(with_builder(ADD, "first"), "second")) == "second"


def test_a_file_that_does_not_say_was_made_by_nobody() -> None:
    assert builder_of(ADD) is None


def test_other_metadata_says_nothing_of_the_maker() -> None:
    model = graphs.add().proto
    onnx.helper.set_model_props(model, {"character": "abc"})

    assert builder_of(model.SerializeToString()) is None


@given(st.integers(1, len(ADD) - 1))
def test_a_file_cut_short_names_no_maker(length: int) -> None:
    whole = with_builder(ADD, "onnxruntime 1.31.1")

    try:
        builder = builder_of(whole[:length])
    except Malformed:
        builder = None

    assert builder is None


@pytest.mark.parametrize(("length", "fits"), [(127 - len(KEY) - 4, True), (127 - len(KEY) - 3, False)])
def test_a_name_is_bounded(length: int, fits: bool) -> None:
    if fits:
        assert builder_of(with_builder(ADD, "x" * length)) == "x" * length
    else:
        with pytest.raises(ValueError, match="at most 127 bytes here, got 128"):
            with_builder(ADD, "x" * length)
