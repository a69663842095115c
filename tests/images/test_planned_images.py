"""What images/build.py is going to build, and what it tells a builder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hpi_agent.plugins.variants import find_variant
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused
from image_build.builders import Builder, build_commands, find_builder, push_command
from image_build.images import Image, Wish, chosen_images, images_of
from image_build.site import site_text, site_values
from image_build.wheelhouse import fill, pip_arguments
from support.project import ROOT

CONFIGS = ROOT / "configs"
ARCHIVE = Path("/out/x.tar")
A_DIGEST = "sha256:" + "1" * 64


def a_wish(*features: str, python: str = "3.11") -> Wish:
    return Wish(CONFIGS, "a-base", python, features, "0.1.0", "c0ffee")


def the_runtime(*features: str) -> Image:
    return images_of(a_wish(*features))[-1]


def test_three_images_are_built_the_smallest_first() -> None:
    images = images_of(a_wish("ocr", "pipelines"))

    assert [(image.name, image.dockerfile) for image in images] == [
        ("hpi-operator", "images/operator/Dockerfile"),
        ("hpi-agent", "images/agent/Dockerfile"),
        ("hpi-cpu", "images/agent/Dockerfile"),
    ]
    assert [image.arguments.get("VARIANT") for image in images] == [None, "hpi-agent", "hpi-cpu"]


def test_the_lock_of_a_runtime_is_that_of_the_environment_in_it() -> None:
    variant = find_variant("hpi-cpu", CONFIGS).with_features(["ocr", "pipelines"])
    [locked] = [one for one in variant.lists if one.python == "3.11"]

    image = the_runtime("ocr", "pipelines")

    assert (image.lock_digest, image.environment_digest) == (locked.digest, locked.digest)
    assert image.arguments["LOCK_DIGEST"] == locked.digest


def test_a_converter_changes_the_lock_and_not_the_environment() -> None:
    without, converting = the_runtime("pipelines"), the_runtime("pipelines", "convert")

    [converter] = [one for one in find_variant("paddle2onnx", CONFIGS).lists if one.python == "3.11"]
    assert converting.environment_digest == without.lock_digest
    assert converting.lock_digest == digest_of_json([without.lock_digest, converter.digest])


def test_the_order_in_which_features_are_named_changes_nothing() -> None:
    assert the_runtime("convert", "ocr", "pipelines") == the_runtime("pipelines", "convert", "ocr")


def test_every_wheel_that_a_build_needs_is_in_its_lists() -> None:
    image = the_runtime("ocr", "pipelines", "convert")

    assert sorted(path.name for path in image.lists) == [
        "agent-py311.txt",
        "hpi-cpu-py311.txt",
        "ocr-py311.txt",
        "paddle2onnx-py311.txt",
        "pipelines-py311.txt",
        "tools-py311.txt",
    ]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (a_wish("ocr", "ocre"), "has no feature ocre; it has pipelines, ocr, convert"),
        (a_wish(python="3.9"), "no list operator-py39.txt"),
        (a_wish("convert", python="3.13"), "paddle2onnx has no list for Python 3.13"),
    ],
    ids=["unknown feature", "Python too old", "Python too new for the converter"],
)
def test_what_cannot_be_built_is_refused(wish: Wish, said: str) -> None:
    with pytest.raises(Refused, match=said):
        images_of(wish)


def test_an_unknown_image_is_refused_with_those_there_are() -> None:
    with pytest.raises(Refused, match="no image is called hpi-gpu; there are hpi-operator, hpi-agent, hpi-cpu"):
        chosen_images(images_of(a_wish()), ["hpi-gpu"])


@pytest.mark.parametrize("name", ["buildah", "podman", "docker"])
def test_every_builder_builds_without_a_network_from_the_same_arguments(name: str) -> None:
    commands = build_commands(Builder(name, f"/bin/{name}"), the_runtime("ocr"), "wheels", "r/hpi-cpu:0.1.0", ARCHIVE)

    first = commands[0]
    assert first[first.index("--network") + 1] == "none"
    assert first[-1] == "."
    for argument in ("BASE=a-base", "VARIANT=hpi-cpu", "FEATURES=ocr", "WHEELHOUSE=wheels", "REVISION=c0ffee"):
        assert first[first.index(argument) - 1] == "--build-arg"
    assert any(str(ARCHIVE) in word for word in commands[-1])


@pytest.mark.parametrize("name", ["buildah", "podman", "docker"])
def test_every_builder_says_which_digest_a_registry_was_sent(name: str) -> None:
    command = push_command(Builder(name, name), the_runtime(), "wheels", "r/hpi-cpu:0.1.0", Path("told"))

    assert "told" in command
    assert any("r/hpi-cpu:0.1.0" in word for word in command)


def test_the_first_builder_on_the_path_is_taken(tmp_path: Path) -> None:
    for name in ("docker", "podman"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)

    assert find_builder(None, str(tmp_path)) == Builder("podman", str(tmp_path / "podman"))
    assert find_builder("docker", str(tmp_path)).name == "docker"


@pytest.mark.parametrize("name", [None, "buildah"])
def test_a_machine_without_a_builder_is_told_what_to_install(name: str | None, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="apt install buildah"):
        find_builder(name, str(tmp_path))


def test_the_chart_is_told_the_images_by_digest_and_the_lock() -> None:
    references = {name: f"r/{name}@{A_DIGEST}" for name in ("hpi-operator", "hpi-agent", "hpi-cpu")}

    text = site_text(site_values(references, "amd64", A_DIGEST))

    assert text == (
        f"operator:\n  image: r/hpi-operator@{A_DIGEST}\n"
        f"agent:\n  image: r/hpi-agent@{A_DIGEST}\n"
        f"runtimes:\n  hpi-cpu:\n    images:\n      amd64: r/hpi-cpu@{A_DIGEST}\n    lockDigest: {A_DIGEST}\n"
    )


def test_wheels_are_fetched_for_the_python_of_the_images_and_the_oldest_c_library_of_the_lists(tmp_path: Path) -> None:
    words = list(pip_arguments(tmp_path, Path("a.txt"), "3.12", "aarch64", None))

    assert words[words.index("--python-version") + 1] == "3.12"
    platforms = [words[number + 1] for number, word in enumerate(words) if word == "--platform"]
    assert (platforms[0], "manylinux2014_aarch64" in platforms) == ("manylinux_2_35_aarch64", True)
    assert {"cp312", "abi3", "none"} == {words[number + 1] for number, word in enumerate(words) if word == "--abi"}


def test_wheels_of_another_machine_or_from_no_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="this is riscv64"):
        fill(tmp_path, [], "3.11", "riscv64", None, print)
    with pytest.raises(Refused, match="is no directory"):
        fill(tmp_path, [], "3.11", "x86_64", tmp_path / "nowhere", print)


def test_a_commit_reaches_the_image(tmp_path: Path) -> None:
    image = images_of(dataclasses.replace(a_wish(), revision="abc"))[0]

    assert image.arguments["REVISION"] == "abc"
