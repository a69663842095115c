"""Model directories of sources that are fetched: the weights completed, a directory as it is; every format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.models.assemble import AssembledModel, Fetching, WantedFormat, assemble
from hpi_agent.models.sources.patience import Patience
from hpi_agent.models.sources.settings import SourceSettings
from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Refused, SourceFailed
from support.fetching import weights
from support.http_site import Site, say_status, serving

WEIGHTS = weights()
OFFLINE = weights(seed=3)
YML = b"Global: {model_name: det}\n"
PIR = b'{"base_code": {"magic": "pir", "version": 3}}'


class House:
    """A server, a store, and the project's parts."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.store = Store(folder / "store")
        self.parts = folder / "parts"
        self.parts.mkdir()
        (self.parts / "det.yml").write_bytes(YML)

    def put_directory(self, **files: bytes) -> str:
        """Lay a model directory on the server; return its address."""
        for name, content in {"inference.yml": YML, **files}.items():
            self.site.put(f"/m/{name}", content)
        return f"{self.site.url}/m/"

    def assemble(
        self, source: str, digest: str | None = None, wanted: WantedFormat = "Auto", name: str = "det"
    ) -> AssembledModel:
        return assemble(
            name,
            source,
            digest,
            store=self.store,
            models=self.parts,
            read_metadata=lambda path: {},
            wanted_format=wanted,
            fetching=Fetching(settings=SourceSettings(patience=Patience(sleep=lambda _: None))),
        )

    def kinds(self) -> list[str]:
        return sorted(entry.kind for entry in self.store.entries())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with serving() as site:
        yield House(site, tmp_path)


def test_weights_from_a_server_are_completed_by_the_project(house: House) -> None:
    house.site.put("/det.onnx", WEIGHTS)

    model = house.assemble(f"{house.site.url}/det.onnx")

    assert (model.directory / "inference.onnx").read_bytes() == WEIGHTS
    assert (model.directory / "inference.yml").read_text() == "Global:\n  model_name: det\n"
    assert model.digest == digest_of_bytes([WEIGHTS])
    assert house.kinds() == ["models", "sources"]


def test_weights_lie_on_the_disk_once(house: House) -> None:
    house.site.put("/det.onnx", WEIGHTS)

    model = house.assemble(f"{house.site.url}/det.onnx")

    assert os.stat(model.directory / "inference.onnx").st_nlink == 2


def test_weights_whose_part_of_the_project_changed_are_not_fetched_again(house: House) -> None:
    house.site.put("/det.onnx", WEIGHTS)
    house.assemble(f"{house.site.url}/det.onnx", digest_of_bytes([WEIGHTS]))
    (house.parts / "det.yml").write_bytes(YML + b"PreProcess: {}\n")
    house.site.asked.clear()

    model = house.assemble(f"{house.site.url}/det.onnx", digest_of_bytes([WEIGHTS]))

    assert b"PreProcess" in (model.directory / "inference.yml").read_bytes()
    assert house.site.asked == []


def test_a_model_directory_from_a_server_is_used_as_it_came(house: House) -> None:
    source = house.put_directory(**{"inference.json": PIR, "inference.pdiparams": WEIGHTS})

    model = house.assemble(source)

    assert model.formats == ("paddle",)
    assert model.paddle is not None
    assert model.digest == model.paddle.digest
    assert house.kinds() == ["sources"]


def test_a_wrong_digest_of_a_model_in_paddles_format_publishes_nothing(house: House) -> None:
    source = house.put_directory(**{"inference.json": PIR, "inference.pdiparams": WEIGHTS})

    with pytest.raises(Refused, match="the manifest demands sha256:0000"):
        house.assemble(source, "sha256:" + "0" * 64)

    assert house.kinds() == []


def test_a_directory_of_another_model_is_refused(house: House) -> None:
    with pytest.raises(Refused, match="belongs to the model 'det'"):
        house.assemble(house.put_directory(**{"inference.onnx": WEIGHTS}), name="rec")


def test_an_offline_model_of_ascend_is_a_format_of_its_own(house: House) -> None:
    model = house.assemble(house.put_directory(**{"inference.om": OFFLINE}))

    assert model.formats == ("om",)
    assert model.om == model.directory / "inference.om"
    assert model.digest == model.om_digest == digest_of_bytes([OFFLINE])


@pytest.mark.parametrize(
    ("wanted", "formats", "content"),
    [("Auto", ("onnx", "om"), WEIGHTS), ("ONNX", ("onnx",), WEIGHTS), ("OM", ("om",), OFFLINE)],
)
def test_the_digest_is_that_of_the_format_that_counts(
    wanted: WantedFormat, formats: tuple[str, ...], content: bytes, house: House
) -> None:
    source = house.put_directory(**{"inference.om": OFFLINE, "inference.onnx": WEIGHTS})

    model = house.assemble(source, digest_of_bytes([content]), wanted)

    assert (model.formats, model.digest) == (formats, digest_of_bytes([content]))


@pytest.mark.parametrize("wanted", ["Paddle", "OM"])
def test_weights_in_another_format_than_the_one_wanted_are_refused(wanted: WantedFormat, house: House) -> None:
    house.site.put("/det.onnx", WEIGHTS)

    with pytest.raises(Refused, match=f"the manifest wants the format {wanted}"):
        house.assemble(f"{house.site.url}/det.onnx", wanted=wanted)


def test_what_a_person_should_know_of_a_source_reaches_the_caller(house: House) -> None:
    house.site.put("/det.onnx", WEIGHTS)
    assert house.assemble(f"{house.site.url}/det.onnx").notes == ()
    house.site.always["/det.onnx"] = say_status(503)

    model = house.assemble(f"{house.site.url}/det.onnx")

    assert "does not answer now" in model.notes[0]


def test_a_query_of_an_address_is_shown_by_no_error(house: House) -> None:
    house.site.put("/rec.onnx", WEIGHTS)

    with pytest.raises(SourceFailed, match=r"configs/models has no rec.yml") as missing:
        house.assemble(f"{house.site.url}/rec.onnx?signature=s3cret", name="rec")
    with pytest.raises(Refused) as wrong:
        house.assemble(f"{house.site.url}/rec.onnx?signature=s3cret", "sha256:" + "0" * 64, name="rec")

    assert "s3cret" not in f"{missing.value} {wrong.value}"
