"""The key documents: what changes the name of an engine, what changes the name of a choice, and where two differ."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.profile import AcceleratorClass, HardwareClass
from hpi_agent.select.answers import Settings
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.device_key import DriverMatch, Granularity
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.keys import FieldDifference, difference, leaves, nearest
from hpi_agent.select.knowledge import Defect, Row
from hpi_agent.select.wish import Wish, read_wish
from hpi_core.digest import canonical_json, digest_of_json
from support.key_documents import (
    A_GPU,
    DEVICE_RUNTIMES,
    ENGINES,
    HARDWARE,
    INSTALLATION,
    LIMITED,
    OF_DEVICE,
    ON_DEVICES,
    PROFILE,
    ROW,
    a_conversion,
    a_digest,
    a_model,
    a_resolution_document,
    a_resolution_document_of,
    an_engine_document,
    an_installation,
)

OPENVINO, _, PADDLE = ENGINES

documents = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))

OTHER_HARDWARE: Final[dict[str, Any]] = {
    "architecture": "aarch64",
    "vendor": "Intel",
    "isa_level": "x86-64-v3",
    "isa_flags": ("avx2",),
    "threads": 5,
    "numa_nodes": 2,
    "memory_gibibytes": None,
    "accelerator": A_GPU,
}
OTHER_ACCELERATORS: Final[dict[str, Any]] = {
    "vendor": "Ascend",
    "product": "NVIDIA A100-SXM4-80GB",
    "compute_capability": "8.6",
    "chip": "Ascend310P3",
    "memory_gibibytes": 4,
    "slice": None,
    "driver": "550.90.07",
    "toolkit": "12.5",
}
OTHER_WISHES: Final[dict[str, Any]] = {
    "backend": "openvino",
    "exactly": True,
    "threads": 2,
    "precision": "float32",
    "run_mode": "mkldnn",
    "cache_capacity": 80,
    "conversion_allowed": False,
    "execution_provider": "cuda",
    "shapes": (("x", ((1,), (1,), (2,))),),
    "workspace_mebibytes": 5,
    "optimization_level": 5,
}
OTHER_CANDIDATES: Final[dict[str, Any]] = {
    "backend": "onnxruntime",
    "precision": "bfloat16",
    "threads": 2,
    "options": (("mkldnn_cache_capacity", 65),),
    "device": "gpu",
    "instead_of": "gpu",
}
OTHER_ACCURACIES: Final[dict[str, Any]] = {"level": "Task", "tolerance": 2e-3, "minimum_samples": 21}
OTHER_ROWS: Final[dict[str, Any]] = {
    "order": ("paddle",),
    "known": False,
    "fails_on": (),
    "defects": (Defect("paddle_mkldnn", ("3.3.2",), ("text_detection",), "it fails"),),
    "borrowed": (),
    "fails_with": (),
}
OTHER_INSTALLATIONS: Final[dict[str, Any]] = {
    "runtimes": {**INSTALLATION.runtimes, "openvino": "2026.5.0"},
    "plugin": {"variant": "hpi-cpu", "lockDigest": a_digest(9)},
    "paddle_lock": a_digest(8),
    "device_runtimes": {"onnxruntime": "1.23.0"},
}

DOES_NOT_NAME_AN_ENGINE: Final = {"threads", "numa_nodes", "memory_gibibytes", "accelerator"}
"""Threads of an engine are those of its candidate; memory and its nodes decide which engine is best, not what it is. An
engine of the processors is the same whatever computes beside them."""


def engine_key(candidate: Candidate = OPENVINO, **changes: Any) -> str:
    return digest_of_json(an_engine_document(candidate, **changes))


def decision_key(**changes: Any) -> str:
    return digest_of_json(a_resolution_document(**changes))


def test_the_table_of_changes_names_every_field() -> None:
    for kind, others in (
        (HardwareClass, OTHER_HARDWARE),
        (AcceleratorClass, OTHER_ACCELERATORS),
        (Wish, OTHER_WISHES),
        (Candidate, OTHER_CANDIDATES),
        (Accuracy, OTHER_ACCURACIES),
        (Row, OTHER_ROWS),
        (type(INSTALLATION), OTHER_INSTALLATIONS),
    ):
        assert [field.name for field in fields(kind)] == list(others)


@pytest.mark.parametrize(("field", "value"), OTHER_HARDWARE.items())
def test_hardware_names_the_choice_and_its_processor_the_engine(field: str, value: Any) -> None:
    changed = replace(HARDWARE, **{field: value})

    assert decision_key(hardware=changed) != decision_key()
    assert (engine_key(hardware=changed) == engine_key()) is (field in DOES_NOT_NAME_AN_ENGINE)


@pytest.mark.parametrize(("field", "value"), OTHER_CANDIDATES.items())
def test_every_part_of_a_candidate_names_its_engine(field: str, value: Any) -> None:
    # Whom the processors stand in for changes nothing of what they compute: a pipeline of theirs finds the same engine.
    assert (engine_key(replace(OPENVINO, **{field: value})) == engine_key()) is (field == "instead_of")


@pytest.mark.parametrize(("field", "value"), OTHER_WISHES.items())
def test_every_wish_names_the_choice(field: str, value: Any) -> None:
    assert decision_key(wish=replace(Wish(), **{field: value})) != decision_key()


@pytest.mark.parametrize(("field", "value"), OTHER_ACCURACIES.items())
def test_everything_that_is_asked_of_answers_names_the_choice(field: str, value: Any) -> None:
    assert decision_key(accuracy=replace(Accuracy(tolerance=1e-3), **{field: value})) != decision_key()


@pytest.mark.parametrize(("field", "value"), OTHER_ROWS.items())
def test_everything_that_is_known_names_the_choice(field: str, value: Any) -> None:
    changed = replace(ROW, **{field: value})

    assert digest_of_json(a_resolution_document_of("gpu", row=changed)) != digest_of_json(
        a_resolution_document_of("gpu")
    )
    # Nothing is lent to the processors, and nothing is known to fail on them alone.
    assert (decision_key(row=changed) == decision_key()) is (field in ("borrowed", "fails_with"))


@pytest.mark.parametrize(
    "changes",
    [
        {"fallback_allowed": False},
        {"settings": None},
        {"settings": Settings(threshold=0.2)},
        {"settings": Settings(box_threshold=0.5)},
        {"samples": {"origin": "folder", "digest": a_digest(3)}},
        {"samples": {"origin": "rendered", "digest": a_digest(6)}},
        {"model": a_model(onnx_digest=None)},
        {"model": a_model(conversion=None)},
    ],
)
def test_what_decides_the_choice_and_no_engine_names_the_choice(changes: dict[str, Any]) -> None:
    assert decision_key(**changes) != decision_key()


@pytest.mark.parametrize(("field", "value"), OTHER_INSTALLATIONS.items())
def test_everything_that_is_installed_names_the_choice(field: str, value: Any) -> None:
    changed = replace(an_installation("gpu"), **{field: value})

    assert digest_of_json(a_resolution_document_of("gpu", installation=changed)) != digest_of_json(
        a_resolution_document_of("gpu")
    )


def test_an_engine_is_named_by_the_version_of_its_own_runtime_alone() -> None:
    newer = replace(INSTALLATION, runtimes={**INSTALLATION.runtimes, "openvino": "2026.5.0"})

    assert engine_key(OPENVINO, installation=newer) != engine_key(OPENVINO)
    assert engine_key(PADDLE, installation=newer) == engine_key(PADDLE)


def test_an_engine_of_paddle_is_named_by_the_list_that_paddle_came_from() -> None:
    ours, paddles = (
        replace(INSTALLATION, **{field: OTHER_INSTALLATIONS[field]}) for field in ("plugin", "paddle_lock")
    )

    assert (
        engine_key(PADDLE, installation=ours) == engine_key(PADDLE),
        engine_key(installation=ours) == engine_key(),
    ) == (
        True,
        False,
    )
    assert engine_key(PADDLE, installation=paddles) != engine_key(PADDLE)
    assert engine_key(installation=paddles) == engine_key()


@pytest.mark.parametrize("shape", [0, 1, 2], ids=["smallest", "usual", "largest"])
def test_every_declared_shape_names_both(shape: int) -> None:
    shapes = [list(one) for one in PROFILE["x"]]
    shapes[shape][0] = 2

    assert engine_key(profile={"x": shapes}) != engine_key()
    assert decision_key(profile={"x": shapes}) != decision_key()


def test_the_order_of_inputs_and_the_kind_of_sequence_name_nothing() -> None:
    one = {"a": ((1, 2),) * 3, "b": ((3,),) * 3}
    other = {"b": [[3]] * 3, "a": [[1, 2]] * 3}

    assert engine_key(profile=one) == engine_key(profile=other)
    assert decision_key(profile=one) == decision_key(profile=other)


@pytest.mark.parametrize("changes", [{"digest": a_digest(7)}, {"format": "onnx"}])
def test_another_model_is_another_engine_and_another_choice(changes: dict[str, Any]) -> None:
    assert engine_key(model=a_model(**changes)) != engine_key()
    assert decision_key(model=a_model(**changes)) != decision_key()


def test_a_model_by_another_name_is_the_same_engine_and_another_choice() -> None:
    renamed = a_model(name="another")

    assert engine_key(model=renamed) == engine_key()
    assert decision_key(model=renamed) != decision_key()


def test_a_conversion_names_the_engines_that_are_made_of_it_and_none_of_paddles() -> None:
    otherwise = a_model(conversion={**a_conversion(), "opset": 18})

    assert engine_key(OPENVINO, model=otherwise) != engine_key(OPENVINO)
    assert engine_key(PADDLE, model=otherwise) == engine_key(PADDLE)


def test_both_documents_are_json() -> None:
    assert canonical_json(a_resolution_document())
    assert all(canonical_json(a_resolution_document_of(device)) for device in OF_DEVICE)
    assert all(canonical_json(an_engine_document(candidate)) for candidate in (*ENGINES, *ON_DEVICES))


GOLDEN: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "data" / "keys" / "processors.json").read_text("utf-8")
)
"""Documents of the processors as they were before there were accelerators: the names of what stores hold."""


def test_the_documents_of_the_processors_are_byte_for_byte_what_they_were_before_there_were_accelerators() -> None:
    model = a_model(conversion={"converter": "some release"})
    wishes = {
        "anything": {},
        "openvino": {
            "backend": "openvino",
            "auto_config": False,
            "backend_config": {"precision": "bf16", "cpu_num_threads": 2},
        },
        "paddle": {
            "backend": "paddle",
            "auto_paddle2onnx": False,
            "backend_config": {"run_mode": "mkldnn", "mkldnn_cache_capacity": 80},
        },
    }

    now = {
        **{f"engine {one.name}": an_engine_document(one, model=model, granularity=LIMITED) for one in ENGINES},
        **{
            f"decision {name}": a_resolution_document(
                model=replace(model, om_digest=a_digest(6)), wish=read_wish("here", settings), granularity=LIMITED
            )
            for name, settings in wishes.items()
        },
    }

    assert {name: canonical_json(document) for name, document in now.items()} == {
        name: canonical_json(document) for name, document in GOLDEN.items()
    }


@pytest.mark.parametrize("candidate", ON_DEVICES, ids=lambda candidate: candidate.name)
@pytest.mark.parametrize(("field", "value"), OTHER_ACCELERATORS.items())
def test_every_fact_of_an_accelerator_names_its_engines_and_its_choice(
    candidate: Candidate, field: str, value: Any
) -> None:
    hardware = OF_DEVICE[candidate.device]
    assert hardware.accelerator is not None
    other: Any = value if getattr(hardware.accelerator, field) != value else "another"
    changed = replace(hardware, accelerator=replace(hardware.accelerator, **{field: other}))

    assert engine_key(candidate, hardware=changed) != engine_key(candidate)
    assert digest_of_json(a_resolution_document_of(candidate.device, hardware=changed)) != digest_of_json(
        a_resolution_document_of(candidate.device)
    )


@pytest.mark.parametrize("candidate", ON_DEVICES, ids=lambda candidate: candidate.name)
def test_processors_name_an_engine_of_a_gpu_only_where_it_leaves_something_to_them(candidate: Candidate) -> None:
    hardware = replace(OF_DEVICE[candidate.device], isa_flags=("avx2",))

    assert (engine_key(candidate, hardware=hardware) == engine_key(candidate)) is (candidate.backend != "onnxruntime")


@pytest.mark.parametrize("candidate", [one for one in ON_DEVICES if one.is_compiled], ids=lambda one: one.name)
def test_another_tensorrt_is_another_engine_whoever_compiles_with_it(candidate: Candidate) -> None:
    newer = replace(an_installation("gpu"), device_runtimes={**DEVICE_RUNTIMES["gpu"], "tensorrt": "10.10.0"})

    assert engine_key(candidate, installation=newer) != engine_key(candidate)


def test_the_memory_that_may_be_used_names_engines_of_accelerators() -> None:
    more = Granularity("Exact", 2**33)

    assert engine_key(ON_DEVICES[0], granularity=more) != engine_key(ON_DEVICES[0])
    assert digest_of_json(a_resolution_document_of("gpu", granularity=more)) != digest_of_json(
        a_resolution_document_of("gpu")
    )


@pytest.mark.parametrize(
    ("match", "other", "same"),
    [
        ("Exact", "550.54.15", True),
        ("Exact", "550.54.14", False),
        ("Verified", "550.90.07", True),
        ("Verified", "551.54.15", False),
        ("Major", "550.90.07", True),
        ("Major", "55.54.15", False),
    ],
)
def test_a_driver_counts_as_far_as_its_user_says(match: DriverMatch, other: str, same: bool) -> None:
    granularity = Granularity(match)
    changed = replace(OF_DEVICE["gpu"], accelerator=replace(A_GPU, driver=other))

    engines = [engine_key(ON_DEVICES[0], granularity=granularity, hardware=one) for one in (OF_DEVICE["gpu"], changed)]
    decisions = [
        digest_of_json(a_resolution_document_of("gpu", granularity=granularity, hardware=one))
        for one in (OF_DEVICE["gpu"], changed)
    ]

    assert (engines[0] == engines[1], decisions[0] == decisions[1]) == (same, same)


def test_a_driver_that_nobody_knows_stays_unknown() -> None:
    assert [Granularity(match).driver(None) for match in ("Exact", "Verified", "Major")] == [None, None, None]


def test_an_engine_of_paddle_on_a_gpu_is_named_by_the_list_of_this_programs_own_environment() -> None:
    on_gpu = ON_DEVICES[2]
    ours, paddles = (
        replace(an_installation("gpu"), **{field: OTHER_INSTALLATIONS[field]}) for field in ("plugin", "paddle_lock")
    )

    assert engine_key(on_gpu, installation=ours) != engine_key(on_gpu)
    assert engine_key(on_gpu, installation=paddles) == engine_key(on_gpu)


@given(documents, documents)
def test_two_documents_differ_exactly_when_a_leaf_does(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    found = difference(ours, theirs)

    assert (found == ()) is (canonical_json(ours) == canonical_json(theirs))
    assert difference(theirs, ours) == tuple(FieldDifference(one.path, one.theirs, one.ours) for one in found)


def test_a_difference_names_its_path_and_both_values() -> None:
    ours, theirs = {"a": {"b": 1, "c": [1, 2]}, "d": {}}, {"a": {"b": 2, "c": [1, 2]}, "e": None}

    assert difference(ours, theirs) == (
        FieldDifference("a.b", 1, 2),
        FieldDifference("d", {}, None),
        FieldDifference("e", None, None),
    )


def test_true_and_1_are_two_values() -> None:
    assert difference({"a": True}, {"a": 1}) == (FieldDifference("a", True, 1),)


def test_a_list_is_one_leaf() -> None:
    assert list(leaves({"a": {"b": [1, {"c": 2}]}, "d": {}})) == [("a.b", [1, {"c": 2}]), ("d", {})]


def test_the_nearest_document_is_the_one_with_the_fewest_differences() -> None:
    here = a_resolution_document()
    threads = a_resolution_document(hardware=replace(HARDWARE, threads=2))
    more = a_resolution_document(hardware=replace(HARDWARE, threads=2, memory_gibibytes=7))

    assert nearest(here, [more, threads]) == (threads, (FieldDifference("hardware.threads", 4, 2),))


def test_a_document_of_the_same_model_is_nearer_than_any_of_another() -> None:
    here = a_resolution_document()
    another = a_resolution_document(model=a_model(name="rec", digest=a_digest(7)))
    same = a_resolution_document(
        hardware=HardwareClass("aarch64", "ARM", None, (), 1, 2, 3), row=replace(ROW, order=())
    )

    found = nearest(here, [another, same])

    assert found is not None
    assert found[0] == same


def test_new_weights_under_an_old_name_are_the_same_model() -> None:
    here = a_resolution_document()
    new_weights = a_resolution_document(model=a_model(digest=a_digest(7), conversion=None))
    another = a_resolution_document(model=a_model(name="rec", digest=a_digest(7)))

    found = nearest(here, [another, new_weights])

    assert found is not None
    assert found[0] == new_weights


def test_nothing_is_nearest_when_there_is_no_other() -> None:
    assert nearest(a_resolution_document(), []) is None


@pytest.mark.parametrize("other", [{}, {"model": None}, {"model": "det"}, {"model": {}}])
def test_a_document_of_another_form_is_far_and_no_failure(other: dict[str, Any]) -> None:
    same = a_resolution_document(wish=Wish(threads=1))

    found = nearest(a_resolution_document(), [other, same])

    assert found is not None
    assert found[0] == same
