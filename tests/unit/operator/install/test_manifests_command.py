"""`hpi-operator manifests` prints what can be applied, or writes it to files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpi_operator.__main__ import main
from hpi_operator.install.installation import Installation
from hpi_operator.install.parts import PARTS


def test_it_prints_every_part_in_the_order_of_applying(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifests", "--image", "registry.example/o:1", "--agent-image", "a:1", "--cache-path", "/data"]) == 0

    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    installation = Installation("registry.example/o:1", agent_image="a:1", cache_path="/data")
    assert printed == [manifest for part in PARTS.values() for manifest in part(installation)]


@pytest.mark.parametrize("part", PARTS)
def test_it_prints_one_part(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    namespaces, images = ["--namespace", "a", "--agent-namespace", "b"], ["--image", "i:1", "--agent-image", "j:1"]

    assert main(["manifests", "--part", part, *namespaces, *images]) == 0

    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert printed == list(PARTS[part](Installation("i:1", "a", "b", agent_image="j:1")))


def test_it_writes_one_file_for_each_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new"

    assert main(["manifests", "--image", "i:1", "-o", str(folder)]) == 0

    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.yaml" for name in PARTS)
    assert list(yaml.safe_load_all((folder / "policies.yaml").read_text())) == list(
        PARTS["policies"](Installation("i:1"))
    )
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")

    assert main(["manifests", "-o", str(tmp_path / "file")]) == 2

    assert "name a folder that can be with -o" in capsys.readouterr().err


def test_one_namespace_for_both_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifests", "--namespace", "one", "--agent-namespace", "one"]) == 2

    assert "operator and agents cannot both live in one" in capsys.readouterr().err


def test_nothing_is_written_by_reference(capsys: pytest.CaptureFixture[str]) -> None:
    main(["manifests"])

    text = capsys.readouterr().out
    assert "&id" not in text
    assert "*id" not in text
