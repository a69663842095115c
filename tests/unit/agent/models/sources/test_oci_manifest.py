"""Which layers of an artifact are files of a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.models.sources.archive import is_archive
from hpi_agent.models.sources.files import MODEL_FILES
from hpi_agent.models.sources.oci_manifest import Descriptor, choose_manifest, files_of
from hpi_core.errors import SourceFailed

TAR = "application/vnd.oci.image.layer.v1.tar"
RAW = "application/vnd.cncf.model.weight.v1.raw"
PACKED = "application/vnd.cncf.model.weight.v1.tar"
TITLE = "org.opencontainers.image.title"
FILE_PATH = "org.cncf.model.filepath"
SOURCE = "oci://ghcr.io/team/det:1"


def layer(kind: str = TAR, number: int = 0, **annotations: str) -> Descriptor:
    """Return a layer; keys of annotations are written with underscores."""
    names = {"title": TITLE, "file_path": FILE_PATH, "unpack": "io.deis.oras.content.unpack"}
    marks = {names[name]: value for name, value in annotations.items()} or None
    return Descriptor(mediaType=kind, digest=f"sha256:{number:064x}", size=10, annotations=marks)


def names_of(*layers: Descriptor) -> list[str]:
    """Return the names of the files of an artifact."""
    numbered = [one.model_copy(update={"digest": f"sha256:{number:064x}"}) for number, one in enumerate(layers)]
    return [file.path for file in files_of(SOURCE, numbered)]


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (layer(title="inference.onnx"), "inference.onnx"),
        (layer(TAR + "+gzip", title="inference.onnx"), "inference.onnx"),
        (layer("application/octet-stream", title="det/inference.pdiparams"), "inference.pdiparams"),
        (layer(title="./PP-OCRv5_det.onnx"), "inference.onnx"),
        (layer(title="det.om"), "inference.om"),
        (layer(title="det_infer.tar"), "det_infer.tar"),
        (layer(title="det_infer.tar.gz"), "det_infer.tar.gz"),
        (layer(title="det", unpack="true"), "layer-1.tar"),
        (layer(TAR + "+gzip", title="det"), "layer-1.tar.gz"),
        (layer(TAR + "+gzip", title="det", unpack="true"), "layer-1.tar.gz"),
        (layer(), "layer-1.tar"),
        (layer(TAR + "+gzip"), "layer-1.tar.gz"),
        (layer("application/vnd.docker.image.rootfs.diff.tar.gzip"), "layer-1.tar.gz"),
        (layer(RAW, file_path="inference.onnx"), "inference.onnx"),
        (layer(PACKED, file_path="inference.onnx"), "layer-1.tar"),
        (layer(PACKED + "+gzip", file_path="model"), "layer-1.tar.gz"),
        (layer(PACKED.replace("weight", "weight.config"), file_path="inference.yml"), "layer-1.tar"),
    ],
)
def test_a_layer_is_one_file_or_one_archive(one: Descriptor, name: str) -> None:
    assert names_of(one) == [name]


@pytest.mark.parametrize(
    "one",
    [
        layer(title="README.md"),
        layer(title="scaler.pkl"),
        layer(RAW, file_path="README.md"),
        layer(PACKED.replace("weight", "doc"), file_path="inference.onnx"),
        layer(RAW.replace("weight", "code"), file_path="inference.onnx"),
        layer("application/vnd.in-toto+json"),
        layer("application/vnd.oci.empty.v1+json"),
    ],
)
def test_layers_with_nothing_of_a_model_are_passed_over(one: Descriptor) -> None:
    assert names_of(one, layer(title="inference.onnx")) == ["inference.onnx"]
    with pytest.raises(SourceFailed, match="has no layer that is one of"):
        names_of(one)


def test_the_digest_of_a_layer_is_that_of_its_file() -> None:
    [file] = files_of(SOURCE, [layer(number=7, title="inference.onnx")])

    assert (file.digest, file.size_bytes) == (f"sha256:{7:064x}", 10)


@pytest.mark.parametrize(
    "titles", [("det/inference.onnx", "rec/inference.yml"), ("inference.onnx", "inference.onnx"), ("a.onnx", "b.onnx")]
)
def test_files_of_several_models_are_refused(titles: tuple[str, str]) -> None:
    with pytest.raises(SourceFailed, match="holds files of several models"):
        names_of(*(layer(title=title) for title in titles))


@given(st.text(max_size=30))
def test_whatever_a_title_is_only_known_names_come_out(title: str) -> None:
    try:
        names = names_of(layer(title=f"{title}/inference.onnx"), layer(title=title or "x"), layer())
    except SourceFailed:
        return

    assert all(name in MODEL_FILES or (is_archive(name) and "/" not in name) for name in names)


@pytest.mark.parametrize(
    "title",
    ["..", "../inference.onnx", "a/../inference.onnx", "/inference.onnx", "a//b", "a/", "a\0b", "a\\b", "x" * 1_025],
)
def test_a_title_that_two_readers_could_take_differently_is_refused(title: str) -> None:
    with pytest.raises(SourceFailed, match="names are relative"):
        names_of(layer(title=title))


def entry(number: int, **more: Any) -> Descriptor:
    """Return one manifest of an index."""
    known = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 10}
    return Descriptor.model_validate({**known, "digest": f"sha256:{number:064x}", **more})


ATTESTATION = entry(9, annotations={"vnd.docker.reference.type": "attestation-manifest"})
AMD = entry(1, platform={"os": "linux", "architecture": "amd64"})
ARM = entry(2, platform={"os": "linux", "architecture": "arm64"})
WINDOWS = entry(3, platform={"os": "windows", "architecture": "amd64"})
BARE = entry(4)


@pytest.mark.parametrize(
    ("manifests", "machine", "chosen"),
    [
        ([BARE, ATTESTATION], "x86_64", BARE),
        ([WINDOWS], "x86_64", WINDOWS),
        ([AMD, ARM, ATTESTATION], "x86_64", AMD),
        ([AMD, ARM, WINDOWS], "aarch64", ARM),
    ],
)
def test_of_an_index_the_one_manifest_that_fits_is_chosen(
    manifests: list[Descriptor], machine: str, chosen: Descriptor
) -> None:
    assert choose_manifest(SOURCE, manifests, machine) == chosen


@pytest.mark.parametrize("manifests", [[], [ATTESTATION], [BARE, BARE], [AMD, AMD], [ARM, WINDOWS]])
def test_an_index_with_none_or_several_that_fit_is_answered_with_what_to_write(manifests: list[Descriptor]) -> None:
    with pytest.raises(SourceFailed, match="name one with @DIGEST"):
        choose_manifest(SOURCE, manifests, "x86_64")
