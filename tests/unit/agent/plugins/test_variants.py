"""The table of plugin variants: which there are, which Python fits which, and what a refusal says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpi_agent.configuration import configs_directory
from hpi_agent.plugins.interpreters import Interpreter
from hpi_agent.plugins.variants import find_variant, problem_with, read_variants
from hpi_core.errors import Bug, Refused
from support.wheelhouse import a_configs_folder

FITS = Interpreter(
    path=Path("/usr/bin/python3.12"),
    implementation="CPython",
    version="3.12.1",
    free_threaded=False,
    bits=64,
    platform="linux",
    architecture="x86_64",
    glibc="2.36",
    lacks=None,
)


def test_every_variant_of_the_project_has_lists_and_a_self_test() -> None:
    variants = read_variants(configs_directory())

    assert set(variants) == {"paddle2onnx"}
    assert all(variant.self_test.is_file() and variant.lists for variant in variants.values())


def test_the_conversion_environment_exists_for_three_pythons_the_newest_first() -> None:
    variant = find_variant("paddle2onnx", configs_directory())

    assert variant.pythons == ("3.12", "3.11", "3.10")


def test_the_lists_of_the_conversion_environment_have_what_the_design_names() -> None:
    variant = find_variant("paddle2onnx", configs_directory())

    found = {
        (locked.versions["paddlepaddle"], locked.versions["paddle2onnx"], locked.versions["onnx"])
        for locked in variant.lists
    }

    assert found == {("3.2.2", "2.1.0", "1.17.0")}


def test_an_unknown_variant_is_refused_with_the_nearest_and_all_that_are_known() -> None:
    with pytest.raises(Refused) as refusal:
        find_variant("paddle2onx", configs_directory())

    assert "'paddle2onx'" in str(refusal.value)
    assert "did you mean 'paddle2onnx'" in str(refusal.value)
    assert "known: paddle2onnx" in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"architecture": "aarch64"}, None),
        ({"glibc": "2.28"}, None),
        ({"glibc": "2.27"}, "with the GNU C library 2.27"),
        ({"glibc": "3.0"}, None),
        ({"glibc": None}, "musl"),
        ({"version": "3.10.0"}, None),
        ({"version": "3.9.18"}, "is CPython 3.9.18"),
        ({"version": "3.13.0"}, "is CPython 3.13.0"),
        ({"implementation": "PyPy"}, "is PyPy"),
        ({"free_threaded": True}, "without the GIL"),
        ({"bits": 32}, "32 bit"),
        ({"platform": "darwin", "architecture": "arm64"}, "darwin on arm64"),
        ({"architecture": "riscv64"}, "linux on riscv64"),
        ({"architecture": ""}, "unknown machine"),
        ({"lacks": "ensurepip"}, "without its module ensurepip"),
    ],
    ids=str,
)
def test_a_python_fits_or_is_refused_with_what_it_is(change: dict[str, object], said: str | None) -> None:
    variant = find_variant("paddle2onnx", configs_directory())

    problem = problem_with(variant, replace(FITS, **change))  # type: ignore[arg-type]

    assert problem is None if said is None else said in str(problem)


def test_what_a_variant_needs_is_said_in_one_sentence() -> None:
    needs = find_variant("paddle2onnx", configs_directory()).needs

    assert needs == (
        "paddle2onnx needs CPython 3.10, 3.11 or 3.12, 64 bit, with its modules venv and ensurepip, on Linux on x86_64 "
        "or aarch64 with the GNU C library 2.28 or later"
    )


def test_two_lists_that_differ_in_one_byte_have_different_digests(tmp_path: Path) -> None:
    one = a_configs_folder(tmp_path / "one", "tinyone==1.0\n")
    other = a_configs_folder(tmp_path / "other", "tinyone==1.1\n")

    digests = {find_variant("tiny", configs).lists[0].digest for configs in (one, other)}

    assert len(digests) == 2


def test_a_variant_without_a_list_is_an_incomplete_installation(tmp_path: Path) -> None:
    configs = a_configs_folder(tmp_path, "", pythons=())

    with pytest.raises(Bug, match="no list tiny-py3"):
        read_variants(configs)


def test_a_table_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    configs = a_configs_folder(tmp_path, "tinyone==1.0\n")
    with (configs / "plugins" / "variants.yml").open("a") as table:
        table.write("  sizeBytes: 3\n")

    with pytest.raises(Bug, match="sizeBytes"):
        read_variants(configs)
