"""The CustomResourceDefinitions in crds/: generated from the models, up to date, small enough to be applied."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.schema.__main__ import main
from hpi_core.schema.custom_resource import custom_resource_definition, file_name, file_text
from support.project import ROOT

LARGEST_BYTES: Final = 200_000
"""`kubectl apply` repeats the whole manifest in an annotation, and 262,144 bytes is the limit for all of them."""


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "hpi_core.schema", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_file_of_a_kind_is_what_its_model_says(kind: Kind) -> None:
    assert (ROOT / "crds" / file_name(kind)).read_text(encoding="utf-8") == file_text(kind), "run `make crds`"


def test_every_manifest_in_the_folder_is_that_of_a_kind() -> None:
    assert sorted(path.name for path in (ROOT / "crds").glob("*.yaml")) == sorted(file_name(kind) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_text_of_a_file_is_the_manifest(kind: Kind) -> None:
    text = file_text(kind)

    assert yaml.safe_load(text) == custom_resource_definition(kind)
    assert text.startswith("# Generated from ")
    assert max(map(len, text.splitlines())) <= 300


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_is_small_enough_for_the_annotation_of_client_side_apply(kind: Kind) -> None:
    sizes = len(file_text(kind).encode()), len(json.dumps(custom_resource_definition(kind)).encode())

    assert max(sizes) < LARGEST_BYTES


def test_the_command_prints_every_kind_as_one_stream_in_a_stable_order() -> None:
    printed = run()

    assert list(yaml.safe_load_all(printed)) == [custom_resource_definition(kind) for kind in KINDS]
    assert run() == printed


def test_the_command_prints_one_kind() -> None:
    assert run("--kind", "HPINode") == file_text(KINDS[-1])


def test_the_command_writes_one_file_per_kind_and_leaves_nothing_else(tmp_path: Path) -> None:
    assert main(["-o", str(tmp_path)]) == 0

    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert written == {file_name(kind): file_text(kind) for kind in KINDS}


def test_an_unknown_kind_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--kind", "HPIPod"])

    assert "HPIPipeline" in capsys.readouterr().err
