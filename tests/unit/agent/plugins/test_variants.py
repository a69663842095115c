"""The table of plugin variants: which there are, which Python fits which, and what a refusal says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpi_agent.configuration import configs_directory
from hpi_agent.plugins.interpreters import Interpreter
from hpi_agent.plugins.variants import find_variant, problem_with, read_variants
from hpi_core.digest import digest_of_bytes, digest_of_json
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

    assert set(variants) == {"hpi-agent", "hpi-cpu", "paddle2onnx"}
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
    assert "known: hpi-agent, hpi-cpu, paddle2onnx" in str(refusal.value)


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


def a_variant_with_features(folder: Path, **changes: str) -> Path:
    """Write `tiny`, made of the lists `tiny` and `more`, with the features `extra` and `newer`; return the configs."""
    configs = a_configs_folder(folder, "tinyone==1.0\n", pythons=("3.11", "3.12"))
    with (configs / "plugins" / "variants.yml").open("a") as table:
        table.write("  lists: [tiny, more]\n  features: {extra: extra, newer: newer}\n")
    lists = {"more-py311": "a==1\n", "more-py312": "a==1\n", "extra-py311": "b==1\n", "extra-py312": "b==1\n"}
    for name, text in {**lists, "newer-py312": "c==1\n", **changes}.items():
        (configs / "locks" / f"{name}.txt").write_text(text)
    return configs


def test_several_lists_make_one_environment_whose_digest_is_theirs_in_order(tmp_path: Path) -> None:
    variant = find_variant("tiny", a_variant_with_features(tmp_path))

    locked = variant.lists[-1]

    digests = [digest_of_bytes([path.read_bytes()]) for path in locked.paths]
    assert locked.name == "tiny-py311.txt, more-py311.txt"
    assert (locked.versions, locked.digest) == ({"tinyone": "1.0", "a": "1"}, digest_of_json(digests))


def test_one_list_alone_keeps_its_own_digest(tmp_path: Path) -> None:
    [locked] = find_variant("tiny", a_configs_folder(tmp_path, "tinyone==1.0\n")).lists

    assert locked.digest == digest_of_bytes([locked.paths[0].read_bytes()])


def test_a_feature_adds_its_list_whatever_the_order_it_is_named_in(tmp_path: Path) -> None:
    variant = find_variant("tiny", a_variant_with_features(tmp_path))

    one, other = variant.with_features(["newer", "extra"]), variant.with_features(["extra", "newer", "extra"])

    assert one.lists == other.lists
    assert one.lists[0].versions == {"tinyone": "1.0", "a": "1", "b": "1", "c": "1"}


def test_a_python_that_a_feature_has_no_list_for_is_left_out(tmp_path: Path) -> None:
    variant = find_variant("tiny", a_variant_with_features(tmp_path))

    assert variant.with_features(["extra"]).pythons == ("3.12", "3.11")
    assert variant.with_features(["newer"]).pythons == ("3.12",)


def test_an_unknown_feature_is_refused_with_those_there_are(tmp_path: Path) -> None:
    variant = find_variant("tiny", a_variant_with_features(tmp_path))

    with pytest.raises(Refused, match="the plugin variant tiny has no feature 'extr'; it has extra, newer"):
        variant.with_features(["extr"])
    with pytest.raises(Refused, match="it has none"):
        find_variant("paddle2onnx", configs_directory()).with_features(["extra"])


def test_features_that_no_python_has_together_are_refused(tmp_path: Path) -> None:
    configs = a_variant_with_features(tmp_path)
    (configs / "locks" / "extra-py312.txt").unlink()

    with pytest.raises(Refused, match="no Python has all of extra, newer"):
        find_variant("tiny", configs).with_features(["extra", "newer"])


def test_two_lists_of_one_environment_that_share_a_package_are_an_incomplete_installation(tmp_path: Path) -> None:
    configs = a_variant_with_features(tmp_path, **{"more-py311": "tinyone==1.0\n"})

    with pytest.raises(Bug, match="share a package"):
        read_variants(configs)


def test_every_choice_of_features_is_known(tmp_path: Path) -> None:
    variant = find_variant("tiny", a_variant_with_features(tmp_path))

    choices = [one.chosen for one in variant.with_any_features()]

    assert choices == [(), ("extra",), ("newer",), ("extra", "newer")]
