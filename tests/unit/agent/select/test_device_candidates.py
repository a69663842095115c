"""Candidates of GPUs and NPUs: which ways are tried, in which precision, and when the processors may stand in."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.profile import AcceleratorClass
from hpi_agent.select.backend_config import BACKEND_DEVICES
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.candidates import Candidates, ModelFacts, Offer, enumerate_candidates
from hpi_agent.select.gate import Accuracy, Level
from hpi_agent.select.knowledge import Defect, Row
from hpi_agent.select.ways import CPU, GPU, NPU, OF_DEVICE
from hpi_agent.select.wish import Wish, check_device
from hpi_core.errors import Refused
from hpi_core.formats import BACKENDS, Backend, DeviceKind, Precision
from support.key_documents import A_GPU, AN_NPU

MODEL: Final = ModelFacts(onnx=True, convertible=True, paddle=True, om=True)
PROCESSORS: Final[dict[Backend, str | None]] = {"onnxruntime": "1.22.0", "openvino": None, "paddle": "3.2.2"}
ON_GPU: Final = Offer(
    "x86_64",
    16,
    PROCESSORS,
    bfloat16=False,
    device="gpu",
    accelerator=A_GPU,
    device_versions={"onnxruntime": "1.22.0", "paddle": "3.2.2", "tensorrt": "10.9.0"},
)
ON_NPU: Final = Offer(
    "aarch64",
    24,
    PROCESSORS,
    bfloat16=False,
    device="npu",
    accelerator=AN_NPU,
    device_versions={"paddle": "3.2.0", "om": "8.0.RC3"},
)
UNKNOWN: Final = Row(("onnxruntime", "paddle", "tensorrt", "onnxruntime_tensorrt", "paddle_tensorrt"), known=False)
CUDA_11: Final = Row(("paddle_tensorrt_fp16", "tensorrt_fp16", "onnxruntime", "paddle"), known=True)
CUDA_12: Final = Row(("onnxruntime", "paddle"), known=True, borrowed=("tensorrt",))
CUDA_ALONE: Final = Row(("onnxruntime", "paddle"), known=True)
NPU_ROW: Final = Row(("om", "paddle"), known=False)
MANUAL: Final = "auto_config: false with this backend uses it all the same"

ON_CUDA: Final = ["onnxruntime cuda tf32", "onnxruntime cuda"]
ON_TENSORRT: Final = ["tensorrt tf32", "tensorrt"]
ON_BOTH: Final = ["onnxruntime tensorrt tf32"]


def candidates(
    offer: Offer = ON_GPU,
    wish: Wish = Wish(),  # noqa: B008 - frozen
    row: Row | None = None,
    level: Level = "Auto",
    model: ModelFacts = MODEL,
    *,
    tolerance: float | None = None,
    fallback_allowed: bool = True,
) -> Candidates:
    """Return what is worth trying of a model with every format, where everything is installed."""
    row = row or (UNKNOWN if offer.device == "gpu" else NPU_ROW)
    return enumerate_candidates(model, wish, row, offer, Accuracy(level, tolerance), fallback_allowed=fallback_allowed)


def names(found: Candidates) -> list[str]:
    return [candidate.name for candidate in found.survivors]


def now(found: Candidates) -> list[str]:
    return [candidate.name for candidate in found.serve_now]


def reasons(found: Candidates) -> dict[str, str]:
    return {outcome.candidate.name: outcome.reason for outcome in found.excluded}


def without(offer: Offer, *backends: Backend) -> Offer:
    """Return an offer without builds of some backends for the device."""
    return replace(offer, device_versions={**offer.device_versions, **dict.fromkeys(backends)})


def test_an_unknown_model_is_tried_on_everything_that_a_gpu_has_in_tf32_and_in_float32() -> None:
    assert names(candidates()) == [*ON_CUDA, "paddle gpu", *ON_TENSORRT, *ON_BOTH, "paddle trt"]


def test_tensorrt_inside_of_onnxruntime_has_no_float32_but_tf32_where_the_gpu_has_that() -> None:
    before = replace(ON_GPU, accelerator=replace(A_GPU, compute_capability="7.5"))
    wish = Wish("onnxruntime", execution_provider="tensorrt", exactly=True)

    found = candidates(wish=wish)

    assert (names(found), now(found)) == (ON_BOTH, ON_BOTH)
    assert reasons(found)["onnxruntime tensorrt"] == (
        "ONNX Runtime computes float32 with TensorRT in TF32 on this GPU; the backend tensorrt has both"
    )
    assert names(candidates(before, wish)) == now(candidates(before, wish)) == ["onnxruntime tensorrt"]


def test_a_row_of_cuda_11_gives_the_order_and_names_float16() -> None:
    assert names(candidates(row=CUDA_11)) == [
        "paddle trt float16",
        "paddle trt",
        "tensorrt float16",
        *ON_TENSORRT,
        *ON_CUDA,
        "paddle gpu",
        *ON_BOTH,
    ]


def test_under_cuda_12_tensorrt_is_tried_last_where_its_row_is_borrowed() -> None:
    assert names(candidates(row=CUDA_12)) == [*ON_CUDA, "paddle gpu", *ON_TENSORRT, *ON_BOTH]
    assert (
        reasons(candidates(row=CUDA_12))["paddle trt"] == f"the knowledge table leaves it out for this model; {MANUAL}"
    )


def test_where_no_column_lists_tensorrt_it_is_not_tried_in_any_way() -> None:
    assert names(candidates(row=CUDA_ALONE)) == [*ON_CUDA, "paddle gpu"]


def test_what_tensorrt_cannot_run_is_not_tried_with_it_in_any_way() -> None:
    found = candidates(row=replace(UNKNOWN, fails_on=("TensorRT",)))

    told = f"the knowledge table lists the model among those that TensorRT cannot run; {MANUAL}"
    assert names(found) == [*ON_CUDA, "paddle gpu"]
    assert {name for name, reason in reasons(found).items() if reason == told} >= {*ON_TENSORRT, *ON_BOTH, "paddle trt"}


def test_a_defect_counts_for_the_build_that_computes_there() -> None:
    row = replace(UNKNOWN, defects=(Defect("paddle", ("3.3.1",), ("text_detection",), "it loses boxes"),))
    on_processors = replace(ON_GPU, versions={**PROCESSORS, "paddle": "3.3.1"})
    on_gpu = replace(ON_GPU, device_versions={**ON_GPU.device_versions, "paddle": "3.3.1"})

    assert reasons(candidates(on_gpu, row=row))["paddle gpu"] == f"it loses boxes; {MANUAL}"
    assert "paddle gpu" in names(candidates(on_processors, row=row))


@pytest.mark.parametrize(
    ("capability", "precisions"),
    [
        ("8.0", {"tf32", "float32", "float16", "bfloat16"}),
        ("9.0", {"tf32", "float32", "float16", "bfloat16"}),
        ("7.5", {"float32", "float16"}),
        ("6.1", {"float32"}),
        ("6.0", {"float32", "float16"}),
        ("5.2", {"float32"}),
        (None, {"tf32", "float32", "float16", "bfloat16"}),
    ],
)
def test_a_precision_is_tried_where_the_gpu_computes_in_it_at_speed(
    capability: str | None, precisions: set[Precision]
) -> None:
    offer = replace(ON_GPU, accelerator=replace(A_GPU, compute_capability=capability))

    found = candidates(offer, level="Task")

    assert {one.precision for one in found.survivors} == precisions
    left_out = [one.reason for one in found.excluded if one.candidate.instead_of is None]
    assert all(
        "does not compute in" in reason or "computes float32 with TensorRT in TF32" in reason for reason in left_out
    )


def test_float32_is_always_among_the_candidates_of_a_gpu() -> None:
    for row in (UNKNOWN, CUDA_11, CUDA_12, CUDA_ALONE):
        for level in ("Auto", "Numeric", "Task"):
            tried = candidates(row=row, level=level).survivors
            modes = {(one.backend, one.options) for one in tried}
            float32 = {(one.backend, one.options) for one in tried if one.precision == "float32"}
            assert modes - float32 <= {("onnxruntime", (("execution_provider", "tensorrt"),))}


def test_the_level_task_lets_reduced_precisions_be_candidates_after_the_others() -> None:
    assert names(candidates(level="Task", row=CUDA_12)) == [
        *ON_CUDA,
        "paddle gpu",
        "paddle gpu float16",
        *ON_TENSORRT,
        "tensorrt float16",
        "tensorrt bfloat16",
        *ON_BOTH,
        "onnxruntime tensorrt float16",
    ]


@pytest.mark.parametrize(
    ("level", "tolerance", "tried"), [("Numeric", None, False), ("Numeric", 1e-2, True), ("Auto", None, True)]
)
def test_float16_that_the_table_names_is_tried_where_the_gate_could_let_it_pass(
    level: Level, tolerance: float | None, tried: bool
) -> None:
    assert ("tensorrt float16" in names(candidates(row=CUDA_11, level=level, tolerance=tolerance))) is tried


def test_a_named_float16_is_measured_first_beside_tf32_and_float32() -> None:
    found = candidates(wish=Wish("tensorrt", precision="float16"))

    assert names(found) == ["tensorrt float16", *ON_TENSORRT]
    assert now(found)[:2] == ["onnxruntime cuda", "paddle gpu"]


def test_a_user_who_names_float32_gets_nothing_less() -> None:
    found = candidates(wish=Wish("tensorrt", precision="float32"), level="Task", row=CUDA_11)

    assert names(found) == ["tensorrt"]
    assert {one.precision for one in found.serve_now} == {"float32"}


def test_int8_is_a_candidate_only_when_it_is_named() -> None:
    assert not [name for name in names(candidates(level="Task")) if "int8" in name]
    assert names(candidates(wish=Wish("tensorrt", precision="int8")))[0] == "tensorrt int8"
    assert names(candidates(wish=Wish("tensorrt", precision="int8", exactly=True))) == ["tensorrt int8"]


@pytest.mark.parametrize(
    ("wish", "measured"),
    [
        (Wish("onnxruntime"), [*ON_CUDA, *ON_BOTH]),
        (Wish("onnxruntime", execution_provider="tensorrt"), ON_BOTH),
        (Wish("onnxruntime", execution_provider="cuda", exactly=True), ON_CUDA),
        (Wish("paddle", run_mode="trt", precision="float16"), ["paddle trt float16", "paddle trt"]),
        (Wish("paddle", run_mode="paddle", precision="float16", exactly=True), ["paddle gpu float16"]),
        (Wish("tensorrt", exactly=True), ON_TENSORRT),
    ],
)
def test_what_the_settings_name_is_the_only_thing_measured(wish: Wish, measured: list[str]) -> None:
    assert names(candidates(wish=wish)) == measured


def test_run_mode_trt_works_under_cuda_12_as_it_never_did_in_paddlex() -> None:
    wish = Wish("paddle", run_mode="trt", precision="float16", exactly=True)

    assert names(candidates(wish=wish, row=CUDA_ALONE)) == ["paddle trt float16"]


def test_settings_of_the_compiler_are_those_of_its_candidates() -> None:
    found = candidates(wish=Wish("tensorrt", workspace_mebibytes=512, optimization_level=5))

    assert {one.options for one in found.survivors} == {(("optimization_level", 5), ("workspace_mebibytes", 512))}


@pytest.mark.parametrize(("wished", "obtained"), [(None, 1), (4, 4)])
@pytest.mark.parametrize("offer", [ON_GPU, ON_NPU], ids=["gpu", "npu"])
def test_an_engine_of_an_accelerator_has_one_thread_of_the_host_unless_more_are_wished_for(
    offer: Offer, wished: int | None, obtained: int
) -> None:
    assert {one.threads for one in candidates(offer, Wish(threads=wished)).survivors} == {obtained}


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        ("onnxruntime", "install onnxruntime-gpu in place of onnxruntime"),
        ("paddle", "install paddlepaddle-gpu in place of paddlepaddle"),
        ("tensorrt", "install tensorrt for the CUDA of this driver"),
    ],
)
def test_a_backend_without_a_build_for_the_gpu_is_excluded_with_what_to_do(backend: Backend, command: str) -> None:
    found = candidates(without(ON_GPU, backend))

    told = {reason for name, reason in reasons(found).items() if "instead of" not in name}
    assert f"{backend} is not installed for the gpu here: {command}" in told
    assert all(one.backend != backend for one in found.survivors)


def test_without_tensorrt_nothing_is_compiled_with_it() -> None:
    found = candidates(without(ON_GPU, "tensorrt"))

    assert names(found) == [*ON_CUDA, "paddle gpu"]
    assert (
        reasons(found)["paddle trt"] == "TensorRT is not installed here: install tensorrt for the CUDA of this driver"
    )


def test_what_has_to_be_compiled_for_minutes_serves_before_a_build_only_when_nothing_else_can() -> None:
    assert now(candidates())[:2] == ["onnxruntime cuda", "paddle gpu"]
    assert now(candidates(wish=Wish("tensorrt", exactly=True))) == ["tensorrt"]


def test_the_processors_stand_by_behind_everything_that_a_gpu_has_and_are_not_measured() -> None:
    found = candidates()

    assert not [name for name in names(found) if "cpu" in name]
    assert now(found)[-3:] == [
        "onnxruntime on cpu instead of gpu",
        "paddle mkldnn on cpu instead of gpu",
        "paddle on cpu instead of gpu",
    ]
    assert reasons(found)["onnxruntime on cpu instead of gpu"] == (
        "stands by in case nothing can serve on the gpu, and is not measured"
    )


def test_where_nothing_computes_on_the_gpu_the_processors_stand_in_under_their_own_name() -> None:
    found = candidates(without(ON_GPU, "onnxruntime", "paddle", "tensorrt"))

    assert names(found) == [
        "onnxruntime on cpu instead of gpu",
        "paddle mkldnn on cpu instead of gpu",
        "paddle on cpu instead of gpu",
    ]
    assert {one.threads for one in found.survivors} == {16}


def test_where_falling_back_is_forbidden_the_processors_never_stand_in() -> None:
    found = candidates(without(ON_GPU, "onnxruntime", "paddle", "tensorrt"), fallback_allowed=False)

    assert (found.survivors, found.serve_now) == ((), ())
    assert reasons(found)["onnxruntime on cpu instead of gpu"] == (
        "the processors may not stand in for the gpu: falling back is forbidden"
    )


def test_a_table_alone_sends_no_model_to_the_processors() -> None:
    model = replace(MODEL, paddle=False)

    found = candidates(row=Row(("paddle",), known=True), model=model)

    assert {one.device for one in found.survivors} == {"gpu"}


def test_manual_mode_uses_the_gpu_or_nothing_with_a_backend_that_the_gpu_has() -> None:
    found = candidates(without(ON_GPU, "onnxruntime"), Wish("onnxruntime", exactly=True))

    assert (found.survivors, found.serve_now) == ((), ())
    assert reasons(found)["onnxruntime on cpu instead of gpu"] == (
        "the settings want onnxruntime, which the gpu has, and auto_config is false"
    )


def test_an_npu_runs_an_offline_model_in_float16_and_paddle_in_float32() -> None:
    found = candidates(ON_NPU)

    assert names(found) == ["om float16", "paddle npu"]
    assert now(found)[:2] == ["om float16", "paddle npu"]


def test_an_offline_model_is_made_in_the_precision_that_the_settings_declare() -> None:
    assert names(candidates(ON_NPU, Wish("om", precision="float32"))) == ["om"]
    assert names(candidates(ON_NPU, Wish("om"))) == ["om float16"]


def test_without_an_offline_model_the_reason_says_how_to_make_one_for_this_chip() -> None:
    found = candidates(ON_NPU, model=replace(MODEL, om=False))

    assert names(found) == ["paddle npu"]
    assert "atc --framework=5 --model=inference.onnx" in reasons(found)["om float16"]
    assert "--soc_version=Ascend310P3" in reasons(found)["om float16"]


def test_what_paddle_cannot_run_on_an_npu_is_not_tried_there() -> None:
    found = candidates(ON_NPU, row=replace(NPU_ROW, fails_with=("paddle",)))

    assert names(found) == ["om float16"]
    assert reasons(found)["paddle npu"] == (
        f"the knowledge table lists the model among those that paddle cannot run on the npu; {MANUAL}"
    )


@pytest.mark.parametrize("exactly", [True, False])
def test_onnxruntime_with_an_npu_computes_on_the_processors_because_its_user_says_so(exactly: bool) -> None:
    assert names(candidates(ON_NPU, Wish("onnxruntime", exactly=exactly))) == ["onnxruntime on cpu instead of npu"]


def test_a_candidate_survives_being_written_down() -> None:
    tried = [*candidates(level="Task").survivors, *(outcome.candidate for outcome in candidates(ON_NPU).excluded)]

    assert [Candidate.from_json(one.to_json()) for one in tried] == tried


def test_a_candidate_of_a_store_from_before_there_were_devices_is_of_the_processors() -> None:
    written = {"backend": "openvino", "precision": "float32", "threads": 4, "options": {}}

    assert Candidate.from_json(written) == Candidate("openvino", "float32", 4)


devices = st.sampled_from(list(OF_DEVICE))
pseudo = st.sampled_from([way.pseudo + half for ways in OF_DEVICE.values() for way in ways for half in ("", "_fp16")])
rows = st.builds(
    Row,
    st.lists(pseudo, unique=True, max_size=5).map(tuple),
    st.booleans(),
    st.sampled_from([(), ("oneDNN",), ("TensorRT", "new IR")]),
    borrowed=st.lists(pseudo, unique=True, max_size=2).map(tuple),
    fails_with=st.sampled_from([(), ("paddle",)]),
)
models = st.builds(ModelFacts, st.booleans(), st.booleans(), st.booleans(), st.none(), st.booleans())
versions = st.fixed_dictionaries({backend: st.sampled_from([None, "1.0"]) for backend in BACKENDS})
accelerators = st.builds(
    AcceleratorClass,
    st.sampled_from(["NVIDIA", "Ascend"]),
    st.none(),
    st.sampled_from([None, "5.2", "6.1", "7.5", "8.0", "12.0", "strange"]),
)
wishes = st.builds(
    Wish,
    st.sampled_from([None, *BACKENDS]),
    exactly=st.booleans(),
    threads=st.sampled_from([None, 3]),
    precision=st.sampled_from([None, "float32", "tf32", "bfloat16", "float16", "int8"]),
    conversion_allowed=st.booleans(),
    execution_provider=st.sampled_from([None, "cuda", "tensorrt"]),
)
accuracies = st.builds(Accuracy, st.sampled_from(["Auto", "Numeric", "Task"]), st.sampled_from([None, 1e-3]))


@st.composite
def situations(draw: st.DrawFn) -> tuple[Offer, ModelFacts, Wish, bool, Candidates]:
    """Return what one machine makes of one model, for any device, and what it was asked."""
    device: DeviceKind = draw(devices)
    of_device = {backend for backend in BACKENDS if device in BACKEND_DEVICES[backend]}
    on_device = {backend: one for backend, one in draw(versions).items() if backend in of_device}
    offer = Offer(
        draw(st.sampled_from(["x86_64", "aarch64", None])),
        draw(st.integers(1, 64)),
        draw(versions),
        bfloat16=draw(st.booleans()),
        device=device,
        accelerator=None if device == "cpu" else draw(accelerators),
        device_versions={} if device == "cpu" else on_device,
    )
    model, wish, allowed = draw(models), draw(wishes), draw(st.booleans())
    found = enumerate_candidates(model, wish, draw(rows), offer, draw(accuracies), fallback_allowed=allowed)
    return offer, model, wish, allowed, found


Situation = tuple[Offer, ModelFacts, Wish, bool, Candidates]


@given(situations())
def test_every_way_of_every_device_is_either_tried_or_excluded_with_a_reason(situation: Situation) -> None:
    offer, _, _, _, found = situation

    tried = [*found.survivors, *(outcome.candidate for outcome in found.excluded)]
    mine = {(way.backend, way.mode, way.device) for way in OF_DEVICE[offer.device]}
    standing_in = set() if offer.device == "cpu" else {(way.backend, way.mode, "cpu") for way in CPU}
    assert len(set(tried)) == len(tried)
    assert {(one.backend, mode_of(one), one.device) for one in tried} == mine | standing_in
    assert all(outcome.reason and outcome.verdict == "Excluded" for outcome in found.excluded)


def mode_of(candidate: Candidate) -> tuple[str, str | int] | None:
    return next((one for one in candidate.options if one[0] in ("run_mode", "execution_provider")), None)


@given(situations())
def test_nothing_is_tried_without_a_runtime_that_supports_its_device(situation: Situation) -> None:
    offer, model, _, _, found = situation

    for one in (*found.survivors, *found.serve_now):
        assert one.device in (offer.device, "cpu")
        there = offer.device_versions if one.device != "cpu" else offer.versions
        assert there[one.backend] is not None
        assert not one.is_compiled or offer.device_versions["tensorrt"] is not None
        assert one.model_format != "om" or model.om


@given(situations())
def test_the_processors_compute_for_another_device_only_where_they_may_and_are_named_as_such(
    situation: Situation,
) -> None:
    offer, _, wish, allowed, found = situation

    for one in (*found.survivors, *found.serve_now):
        stands_in = one.device != offer.device
        assert one.instead_of == (offer.device if stands_in else None)
        assert not stands_in or (allowed and one.name.endswith(f" on cpu instead of {offer.device}"))
    measured = {one.instead_of is None for one in found.survivors}
    # They are never measured beside the device: it is the device that was asked for.
    assert len(measured) < 2
    if wish.backend is None and any(one.instead_of is None for one in found.serve_now):
        assert measured == {True}


@given(situations())
def test_what_serves_now_is_there_and_is_float32_or_an_offline_model(situation: Situation) -> None:
    _, model, _, _, found = situation

    for one in found.serve_now:
        assert one.precision == "float32" or one.backend == "om" or one.option("execution_provider") == "tensorrt"
        assert {"onnx": model.onnx, "paddle": model.paddle, "om": model.om}[one.model_format]
    places = [(one.instead_of is not None, one.is_compiled) for one in found.serve_now]
    assert places == sorted(places)


@given(situations())
def test_manual_mode_never_leaves_the_backend_it_is_told_nor_a_device_that_has_it(situation: Situation) -> None:
    offer, _, wish, _, found = situation
    if wish.backend is None or not wish.exactly:
        return

    for one in (*found.survivors, *found.serve_now):
        assert one.backend == wish.backend
        assert one.device == offer.device or offer.device not in BACKEND_DEVICES[one.backend]


@given(situations())
def test_a_wish_that_a_device_can_honour_names_a_way_of_it(situation: Situation) -> None:
    offer, _, wish, allowed, found = situation
    try:
        check_device("here", wish, offer.device, fallback_allowed=allowed)
    except Refused:
        return

    tried = [*found.survivors, *(outcome.candidate for outcome in found.excluded)]
    assert wish.backend is None or wish.backend in {one.backend for one in tried}


def test_every_way_belongs_to_its_device() -> None:
    for device, ways in OF_DEVICE.items():
        assert {way.device for way in ways} == {device}
        assert all(device in BACKEND_DEVICES[way.backend] for way in ways)
        assert {way.backend for way in ways} == {one for one in BACKENDS if device in BACKEND_DEVICES[one]}
    assert len({(way.pseudo, way.device) for way in (*CPU, *GPU, *NPU)}) == len([*CPU, *GPU, *NPU])
