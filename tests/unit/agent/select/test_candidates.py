"""Candidates: which ways to run a model are tried, in which order, and why the others are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.select.candidates import CACHE_CAPACITY, WAYS, Candidates, ModelFacts, Offer, enumerate_candidates
from hpi_agent.select.gate import Accuracy, Level
from hpi_agent.select.knowledge import Defect, Row
from hpi_agent.select.wish import Wish
from hpi_core.formats import BACKENDS, Backend

BOTH: Final = ModelFacts(onnx=True, convertible=True, paddle=True)
PADDLE_ALONE: Final = ModelFacts(onnx=False, convertible=True, paddle=True, no_onnx="not converted yet")
ONNX_ALONE: Final = ModelFacts(onnx=True, convertible=False, paddle=False)
UNCONVERTIBLE: Final = ModelFacts(onnx=False, convertible=False, paddle=True, no_onnx="an operator is missing")

OFFER: Final = Offer("x86_64", 4, {"onnxruntime": "1.31.1", "openvino": "2026.4.1", "paddle": "3.2.2"}, bfloat16=True)
ORDER: Final = ("paddle_mkldnn", "openvino", "paddle", "onnxruntime")
ROW: Final = Row(ORDER, known=True)
UNKNOWN: Final = Row(("openvino", "onnxruntime", "paddle_mkldnn", "paddle"), known=False)
MANUAL: Final = "auto_config: false with this backend uses it all the same"

rows = st.builds(
    Row,
    st.lists(st.sampled_from([way.pseudo for way in WAYS]), unique=True).map(tuple),
    st.booleans(),
    st.sampled_from([(), ("oneDNN",), ("TensorRT", "new IR")]),
)
models = st.builds(ModelFacts, st.booleans(), st.booleans(), st.booleans(), st.none())
versions = st.fixed_dictionaries({backend: st.sampled_from([None, "1.0"]) for backend in BACKENDS})
offers = st.builds(
    Offer, st.sampled_from(["x86_64", "aarch64", None]), st.integers(1, 64), versions, bfloat16=st.booleans()
)
wishes = st.builds(
    Wish,
    st.sampled_from([None, *BACKENDS]),
    threads=st.sampled_from([None, 3]),
    precision=st.sampled_from([None, "float32", "bfloat16"]),
    conversion_allowed=st.booleans(),
)
accuracies = st.builds(Accuracy, st.sampled_from(["Auto", "Numeric", "Task"]))


def candidates(
    model: ModelFacts = BOTH,
    wish: Wish = Wish(),  # noqa: B008 - frozen
    row: Row = ROW,
    offer: Offer = OFFER,
    level: Level = "Auto",
    *,
    fallback_allowed: bool = True,
) -> Candidates:
    """Return what is worth trying of a model with both formats, where everything is installed."""
    return enumerate_candidates(model, wish, row, offer, Accuracy(level), fallback_allowed=fallback_allowed)


def names(found: Candidates) -> list[str]:
    return [candidate.name for candidate in found.survivors]


def now(found: Candidates) -> list[str]:
    return [candidate.name for candidate in found.serve_now]


def reasons(found: Candidates) -> dict[str, str]:
    return {outcome.candidate.name: outcome.reason for outcome in found.excluded}


def test_survivors_stand_in_the_order_of_the_table_with_plain_paddle_last() -> None:
    assert names(candidates()) == ["paddle mkldnn", "openvino", "onnxruntime", "paddle"]
    assert reasons(candidates()) == {}


def test_an_unknown_model_is_tried_on_everything_in_the_order_of_the_architecture() -> None:
    assert names(candidates(row=UNKNOWN)) == ["openvino", "onnxruntime", "paddle mkldnn", "paddle"]


def test_a_backend_that_the_row_leaves_out_is_excluded_with_that_reason() -> None:
    found = candidates(row=Row(("onnxruntime", "paddle_mkldnn", "paddle"), known=True))

    assert names(found) == ["onnxruntime", "paddle mkldnn", "paddle"]
    assert reasons(found) == {"openvino": f"the knowledge table leaves it out for this model; {MANUAL}"}


def test_a_model_for_which_the_row_leaves_nothing_is_tried_on_what_can_run_it() -> None:
    found = candidates(ONNX_ALONE, row=Row(("paddle",), known=True))

    assert names(found) == now(found) == ["openvino", "onnxruntime"]


def test_manual_mode_uses_what_the_row_leaves_out() -> None:
    found = candidates(wish=Wish("openvino", exactly=True), row=Row(("paddle",), known=True))

    assert names(found) == ["openvino"]
    assert set(reasons(found).values()) == {"the settings want openvino, and auto_config is false"}


def test_plain_paddle_is_the_last_resort_of_a_row_that_lacks_it() -> None:
    assert names(candidates(row=Row(("openvino",), known=True))) == ["openvino", "paddle"]


def test_onednn_is_not_tried_on_a_model_that_it_cannot_run() -> None:
    row = replace(UNKNOWN, fails_on=("oneDNN",))

    automatic, manual = (candidates(wish=Wish("paddle", exactly=exactly), row=row) for exactly in (False, True))

    told = f"the knowledge table lists the model among those that oneDNN cannot run; {MANUAL}"
    assert (names(automatic), reasons(automatic)["paddle mkldnn"]) == (["paddle"], told)
    assert names(manual) == ["paddle mkldnn", "paddle"]


@pytest.mark.parametrize(("version", "tried"), [("3.3.1", False), ("3.2.2", True), ("3.3.10", True)])
def test_a_version_with_a_known_defect_is_not_tried(version: str, tried: bool) -> None:
    row = replace(ROW, defects=(Defect("paddle_mkldnn", ("3.3.1",), ("text_detection",), "3.3.1 cannot"),))
    offer = replace(OFFER, versions={**OFFER.versions, "paddle": version})

    found = candidates(row=row, offer=offer)

    assert ("paddle mkldnn" in names(found)) is tried
    assert reasons(found) == ({} if tried else {"paddle mkldnn": f"3.3.1 cannot; {MANUAL}"})


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        ("onnxruntime", "install onnxruntime"),
        ("openvino", "install openvino"),
        ("paddle", "hpi-agent install paddle2onnx"),
    ],
)
def test_a_backend_that_is_not_installed_is_excluded_with_what_to_do(backend: Backend, command: str) -> None:
    found = candidates(offer=replace(OFFER, versions={**OFFER.versions, backend: None}))

    assert all(candidate.backend != backend for candidate in found.survivors)
    assert set(reasons(found).values()) == {f"{backend} is not installed here: {command}"}


def test_a_model_without_paddles_files_is_not_tried_on_paddle() -> None:
    found = candidates(ONNX_ALONE, offer=replace(OFFER, versions={**OFFER.versions, "paddle": None}))

    assert names(found) == ["openvino", "onnxruntime"]
    assert set(reasons(found).values()) == {"the model has no files in Paddle's format"}


def test_a_model_that_can_be_converted_is_tried_on_everything_and_served_by_paddle_until_then() -> None:
    found = candidates(PADDLE_ALONE)

    assert names(found) == ["paddle mkldnn", "openvino", "onnxruntime", "paddle"]
    assert now(found) == ["paddle mkldnn", "paddle"]


def test_a_model_that_cannot_be_converted_is_left_to_paddle_with_the_reason() -> None:
    found = candidates(UNCONVERTIBLE)

    assert names(found) == ["paddle mkldnn", "paddle"]
    assert reasons(found) == {"openvino": "an operator is missing", "onnxruntime": "an operator is missing"}


def test_a_conversion_that_is_forbidden_is_no_candidate() -> None:
    forbidden = Wish(conversion_allowed=False)

    assert names(candidates(PADDLE_ALONE, forbidden)) == ["paddle mkldnn", "paddle"]
    assert set(reasons(candidates(PADDLE_ALONE, forbidden)).values()) == {
        "there is no ONNX file, and auto_paddle2onnx is false"
    }
    assert names(candidates(BOTH, forbidden)) == ["paddle mkldnn", "openvino", "onnxruntime", "paddle"]


@pytest.mark.parametrize("architecture", ["aarch64", None])
def test_paddle_has_onednn_on_x86_64_alone(architecture: str | None) -> None:
    found = candidates(row=UNKNOWN, offer=replace(OFFER, architecture=architecture))

    assert reasons(found) == {"paddle mkldnn": f"Paddle has oneDNN on x86_64 alone, this is {architecture}"}


def test_a_wished_backend_is_the_only_one_measured_and_the_others_stand_by() -> None:
    found = candidates(wish=Wish("onnxruntime"))

    assert names(found) == ["onnxruntime"]
    assert now(found) == ["onnxruntime", "paddle mkldnn", "openvino", "paddle"]
    assert set(reasons(found).values()) == {
        "the settings want onnxruntime; this stands by in case that cannot serve, and is not measured"
    }


def test_a_wished_backend_that_cannot_run_the_model_leaves_it_to_the_others() -> None:
    found = candidates(wish=Wish("openvino"), row=Row(("paddle",), known=True))

    assert names(found) == ["paddle"]
    assert reasons(found)["openvino"] == f"the knowledge table leaves it out for this model; {MANUAL}"


@pytest.mark.parametrize(
    ("wish", "fallback_allowed", "because"),
    [
        (Wish("openvino", exactly=True), True, "auto_config is false"),
        (Wish("openvino", exactly=True), False, "auto_config is false"),
        (Wish("openvino"), False, "falling back is forbidden"),
    ],
)
def test_nothing_stands_by_in_manual_mode_or_when_falling_back_is_forbidden(
    wish: Wish, fallback_allowed: bool, because: str
) -> None:
    missing = replace(OFFER, versions={**OFFER.versions, "openvino": None})

    found = candidates(wish=wish, offer=missing, fallback_allowed=fallback_allowed)

    assert (found.survivors, found.serve_now) == ((), ())
    assert reasons(found) == {
        "openvino": "openvino is not installed here: install openvino",
        **dict.fromkeys(["paddle mkldnn", "paddle", "onnxruntime"], f"the settings want openvino, and {because}"),
    }


@pytest.mark.parametrize(("run_mode", "name"), [("paddle", "paddle"), ("mkldnn", "paddle mkldnn")])
def test_a_wished_run_mode_is_the_only_one_measured(run_mode: str, name: str) -> None:
    assert names(candidates(wish=Wish("paddle", run_mode=run_mode))) == [name]
    assert names(candidates(wish=Wish("paddle", run_mode=run_mode, exactly=True))) == [name]


def test_bfloat16_is_no_candidate_by_itself() -> None:
    assert all(candidate.precision == "float32" for candidate in candidates().survivors)
    assert all(candidate.precision == "float32" for candidate in candidates(level="Numeric").survivors)


def test_the_level_task_lets_bfloat16_be_a_candidate() -> None:
    assert names(candidates(level="Task")) == [
        "paddle mkldnn",
        "paddle mkldnn bfloat16",
        "openvino",
        "openvino bfloat16",
        "onnxruntime",
        "paddle",
    ]


def test_a_user_who_names_float32_gets_nothing_less_at_the_level_task() -> None:
    found = candidates(wish=Wish("openvino", precision="float32"), level="Task")

    assert names(found) == ["openvino"]


def test_a_named_bfloat16_is_measured_beside_float32_which_the_gate_may_leave() -> None:
    found = candidates(wish=Wish("openvino", precision="bfloat16"))

    assert names(found) == ["openvino bfloat16", "openvino"]
    assert now(found)[0] == "openvino"


def test_a_named_bfloat16_is_the_only_candidate_in_manual_mode_and_float32_serves_until_it_has_passed() -> None:
    found = candidates(wish=Wish("openvino", precision="bfloat16", exactly=True))

    assert (names(found), now(found)) == (["openvino bfloat16"], ["openvino"])
    assert reasons(found)["openvino"] == "the settings want bfloat16"


def test_bfloat16_is_not_emulated_on_processors_without_it() -> None:
    found = candidates(wish=Wish("openvino", precision="bfloat16"), offer=replace(OFFER, bfloat16=False))

    assert names(found) == ["openvino"]
    assert reasons(found)["openvino bfloat16"] == "these processors do not compute in bfloat16"


@pytest.mark.parametrize(("wished", "obtained"), [(None, 4), (1, 1), (7, 7)])
def test_threads_are_those_wished_for_or_the_whole_cores(wished: int | None, obtained: int) -> None:
    found = candidates(wish=Wish(threads=wished))

    assert {candidate.threads for candidate in (*found.survivors, *found.serve_now)} == {obtained}


@pytest.mark.parametrize(("wished", "obtained"), [(None, CACHE_CAPACITY), (80, 80)])
def test_onednn_keeps_the_shapes_wished_for_or_64(wished: int | None, obtained: int) -> None:
    [onednn] = candidates(wish=Wish("paddle", run_mode="mkldnn", cache_capacity=wished)).survivors

    assert onednn.options == (("mkldnn_cache_capacity", obtained), ("run_mode", "mkldnn"))


@given(models, wishes, rows, offers, accuracies, st.booleans())
def test_every_way_is_either_tried_or_excluded_with_a_reason(
    model: ModelFacts, wish: Wish, row: Row, offer: Offer, accuracy: Accuracy, fallback_allowed: bool
) -> None:
    found = enumerate_candidates(model, wish, row, offer, accuracy, fallback_allowed=fallback_allowed)

    tried = [*found.survivors, *(outcome.candidate for outcome in found.excluded)]
    assert len(set(tried)) == len(tried)
    assert {(one.backend, one.option("run_mode")) for one in tried} == {(way.backend, way.run_mode) for way in WAYS}
    assert all(outcome.reason and outcome.verdict == "Excluded" for outcome in found.excluded)


@given(models, wishes, rows, offers, accuracies, st.booleans())
def test_what_serves_now_needs_no_build_and_computes_in_float32(
    model: ModelFacts, wish: Wish, row: Row, offer: Offer, accuracy: Accuracy, fallback_allowed: bool
) -> None:
    found = enumerate_candidates(model, wish, row, offer, accuracy, fallback_allowed=fallback_allowed)

    for candidate in found.serve_now:
        assert candidate.precision == "float32"
        assert model.onnx if candidate.model_format == "onnx" else model.paddle
        assert offer.versions[candidate.backend] is not None
    assert len(set(found.serve_now)) == len(found.serve_now)


@given(models, wishes, rows, offers, accuracies)
def test_a_wished_backend_that_survives_is_the_only_one_measured(
    model: ModelFacts, wish: Wish, row: Row, offer: Offer, accuracy: Accuracy
) -> None:
    found = enumerate_candidates(model, wish, row, offer, accuracy, fallback_allowed=True)

    backends = {candidate.backend for candidate in found.survivors}
    assert wish.backend is None or wish.backend not in backends or backends == {wish.backend}


@given(models, st.sampled_from(BACKENDS), rows, offers, accuracies, st.booleans())
def test_manual_mode_never_leaves_the_backend_it_is_told(
    model: ModelFacts, backend: Backend, row: Row, offer: Offer, accuracy: Accuracy, fallback_allowed: bool
) -> None:
    wish = Wish(backend, exactly=True)

    found = enumerate_candidates(model, wish, row, offer, accuracy, fallback_allowed=fallback_allowed)

    assert {candidate.backend for candidate in (*found.survivors, *found.serve_now)} <= {backend}
