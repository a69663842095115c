"""The key documents: what changes the name of an engine, what changes the name of a choice, and where two differ."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.profile import HardwareClass
from hpi_agent.select.answers import Settings
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.keys import FieldDifference, difference, leaves, nearest
from hpi_agent.select.knowledge import Defect, Row
from hpi_agent.select.wish import Wish
from hpi_core.digest import canonical_json, digest_of_json
from support.key_documents import (
    ENGINES,
    HARDWARE,
    INSTALLATION,
    PROFILE,
    ROW,
    a_conversion,
    a_digest,
    a_model,
    a_resolution_document,
    an_engine_document,
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
}
OTHER_WISHES: Final[dict[str, Any]] = {
    "backend": "openvino",
    "exactly": True,
    "threads": 2,
    "precision": "float32",
    "run_mode": "mkldnn",
    "cache_capacity": 80,
    "conversion_allowed": False,
}
OTHER_CANDIDATES: Final[dict[str, Any]] = {
    "backend": "onnxruntime",
    "precision": "bfloat16",
    "threads": 2,
    "options": (("mkldnn_cache_capacity", 65),),
}
OTHER_ACCURACIES: Final[dict[str, Any]] = {"level": "Task", "tolerance": 2e-3, "minimum_samples": 21}
OTHER_ROWS: Final[dict[str, Any]] = {
    "order": ("paddle",),
    "known": False,
    "fails_on": (),
    "defects": (Defect("paddle_mkldnn", ("3.3.2",), ("text_detection",), "it fails"),),
}
OTHER_INSTALLATIONS: Final[dict[str, Any]] = {
    "runtimes": {**INSTALLATION.runtimes, "openvino": "2026.5.0"},
    "plugin": {"variant": "hpi-cpu", "lockDigest": a_digest(9)},
    "paddle_lock": a_digest(8),
}

DOES_NOT_NAME_AN_ENGINE: Final = {"threads", "numa_nodes", "memory_gibibytes"}
"""Threads of an engine are those of its candidate; memory and its nodes decide which engine is best, not what it is."""


def engine_key(candidate: Candidate = OPENVINO, **changes: Any) -> str:
    return digest_of_json(an_engine_document(candidate, **changes))


def decision_key(**changes: Any) -> str:
    return digest_of_json(a_resolution_document(**changes))


def test_the_table_of_changes_names_every_field() -> None:
    for kind, others in (
        (HardwareClass, OTHER_HARDWARE),
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
    assert engine_key(replace(OPENVINO, **{field: value})) != engine_key()


@pytest.mark.parametrize(("field", "value"), OTHER_WISHES.items())
def test_every_wish_names_the_choice(field: str, value: Any) -> None:
    assert decision_key(wish=replace(Wish(), **{field: value})) != decision_key()


@pytest.mark.parametrize(("field", "value"), OTHER_ACCURACIES.items())
def test_everything_that_is_asked_of_answers_names_the_choice(field: str, value: Any) -> None:
    assert decision_key(accuracy=replace(Accuracy(tolerance=1e-3), **{field: value})) != decision_key()


@pytest.mark.parametrize(("field", "value"), OTHER_ROWS.items())
def test_everything_that_is_known_names_the_choice(field: str, value: Any) -> None:
    assert decision_key(row=replace(ROW, **{field: value})) != decision_key()


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
    assert decision_key(installation=replace(INSTALLATION, **{field: value})) != decision_key()


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
    assert all(canonical_json(an_engine_document(candidate)) for candidate in ENGINES)


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
