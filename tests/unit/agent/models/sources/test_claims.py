"""`pvc://`: what a cluster has mounted, used where it lies; nothing leads out of a claim."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from hpi_agent.models.sources.files import ModelDirectory, WeightsFile
from hpi_agent.models.sources.local import locate
from hpi_core.errors import Refused, SourceFailed
from support import read_only_claim


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    """A folder of claims with one claim, and in it one model."""
    model = tmp_path / "claims" / "models" / "ocr" / "det"
    model.mkdir(parents=True)
    (model / "inference.onnx").write_bytes(b"weights")
    (model / "inference.yml").write_text("Global: {model_name: det}\n")
    return tmp_path / "claims"


def refusal(source: str, claims: Path | None) -> str:
    with pytest.raises(Refused) as caught:
        locate(source, claims)
    return str(caught.value)


def failure(source: str, claims: Path | None) -> str:
    with pytest.raises(SourceFailed) as caught:
        locate(source, claims)
    return str(caught.value)


def test_a_directory_of_a_claim_is_used_where_it_lies(claims: Path) -> None:
    assert locate("pvc://models/ocr/det", claims) == ModelDirectory(claims / "models" / "ocr" / "det")


def test_a_claim_may_be_a_model_directory_itself(claims: Path) -> None:
    (claims / "models" / "ocr" / "det").rename(claims / "det-v1")

    assert locate("pvc://det-v1/", claims) == ModelDirectory(claims / "det-v1")


def test_one_onnx_file_of_a_claim_is_a_weights_file(claims: Path) -> None:
    file = claims / "models" / "rec.onnx"
    file.write_bytes(b"weights")

    assert locate("pvc://models/rec.onnx", claims) == WeightsFile(file)


def test_a_link_that_stays_in_its_claim_is_followed(claims: Path) -> None:
    (claims / "models" / "current").symlink_to("ocr/det")

    assert locate("pvc://models/current", claims) == ModelDirectory(claims / "models" / "ocr" / "det")


@pytest.mark.parametrize(
    "path", ["../secret", "ocr/../../secret", "%2e%2e/secret", "..%2fsecret", "link", "link/../secret"]
)
def test_a_path_that_leaves_its_claim_is_refused(path: str, claims: Path) -> None:
    (claims / "secret").mkdir()
    (claims / "models" / "link").symlink_to(claims / "secret")

    assert refusal(f"pvc://models/{path}", claims).endswith("leaves the claim 'models'")


def test_a_file_that_is_a_link_out_of_its_claim_is_refused(claims: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"a secret")
    file = claims / "models" / "ocr" / "det" / "inference.onnx"
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")

    assert refusal("pvc://models/ocr/det", claims).endswith("inference.onnx is a link that leaves the claim 'models'")


@pytest.mark.parametrize("claim", ["", "..", "Models", "a_b", "-a", "a" * 254])
def test_a_claim_has_a_name_that_kubernetes_allows(claim: str, claims: Path) -> None:
    assert "must be pvc://CLAIM/PATH" in refusal(f"pvc://{claim}/x", claims)


@pytest.mark.parametrize("known", [True, False])
def test_a_claim_that_is_not_mounted_needs_a_cluster_or_a_folder(known: bool, claims: Path) -> None:
    place = claims / "other" if known else "--claims DIR"

    assert failure("pvc://other/x", claims if known else None) == (
        f"source 'pvc://other/x': the claim 'other' is not mounted at {place}; a cluster mounts it there; on one "
        "machine name a folder with a sub-folder for each claim with --claims DIR or $HPI_CLAIMS"
    )


def test_a_directory_that_is_not_there_is_answered_with_those_that_are(claims: Path) -> None:
    assert failure("pvc://models/ocr/rec", claims) == (
        "source 'pvc://models/ocr/rec': the claim has no such directory or .onnx file; beside it are ['det']"
    )


def test_models_are_used_from_a_claim_that_is_mounted_read_only(tmp_path: Path) -> None:
    claims, store = tmp_path / "claims", tmp_path / "store"
    claims.mkdir()

    done = subprocess.run(
        read_only_claim.command(claims, store),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(read_only_claim.__file__).parents[1]), "PATH": "/usr/bin:/bin"},
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("error") == "EROFS"
    directory = str(claims / "models" / "det")
    assert list(told.values())[:2] == [directory, directory]
    assert list(told.values())[2].startswith(str(store / "models"))
