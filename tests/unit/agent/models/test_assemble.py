"""Model directories: what is assembled from weights and the project's own part, and what is used as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpi_agent.configuration import configs_directory
from hpi_agent.models.assemble import (
    MAX_INFERENCE_YML_BYTES,
    MAX_INFERENCE_YML_DEPTH,
    AssembledModel,
    WantedFormat,
    assemble,
    complete,
)
from hpi_agent.models.paddle_files import find_paddle_model
from hpi_agent.store.directory import Store, digest_of_file, find_damage
from hpi_core.errors import EngineFailed, Refused, Retry, SourceFailed

REAL_RECOGNITION = "package://rapidocr/models/PP-OCRv6_rec_small.onnx"
REAL_DETECTION = "package://rapidocr/models/PP-OCRv6_det_small.onnx"

PART_WITH_CHARACTERS = """
Global: {model_name: rec}
PostProcess: {name: CTCLabelDecode, character_dict: {onnx_metadata: character}}
"""


def real_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a real ONNX file."""
    model = onnx.load(path, load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def no_metadata(path: Path) -> dict[str, str]:
    return {}


def unread(path: Path) -> dict[str, str]:
    """Fail the test: the file must not be opened."""
    raise AssertionError(f"{path} was read")


def read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def the_onnx_of(model: AssembledModel) -> Path:
    assert model.onnx is not None
    return model.onnx


class House:
    """A store, the project's parts and an installed package, all in one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.models = folder / "parts"
        self.package = folder / "site" / "lent_models"
        self.models.mkdir()
        self.package.mkdir(parents=True)
        self.put("det", b"weights of det", "Global: {model_name: det}\n")
        self.put("rec", b"weights of rec", PART_WITH_CHARACTERS)

    def put(self, name: str, weights: bytes, part: str) -> None:
        """Lend weights from the package, and write the part that completes them."""
        (self.package / f"{name}.onnx").write_bytes(weights)
        (self.models / f"{name}.yml").write_text(part, encoding="utf-8")

    def assemble(
        self,
        name: str,
        source: str | None = None,
        digest: str | None = None,
        read_metadata: Callable[[Path], dict[str, str]] = no_metadata,
        wanted_format: WantedFormat = "Auto",
    ) -> AssembledModel:
        """Assemble a model, by default from the package."""
        return assemble(
            name,
            source or f"package://lent_models/{name}.onnx",
            digest,
            store=self.store,
            models=self.models,
            read_metadata=read_metadata,
            wanted_format=wanted_format,
        )


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return house


def a_directory(folder: Path, name: str = "det", *, onnx: bool = True, paddle: bool = False) -> Path:
    """Return a model directory of a user's."""
    folder.mkdir()
    if onnx:
        (folder / "inference.onnx").write_bytes(b"weights of a user")
    if paddle:
        (folder / "inference.json").write_text('{"base_code": {"magic": "pir", "version": 3}}')
        (folder / "inference.pdiparams").write_bytes(b"weights of Paddle")
    (folder / "inference.yml").write_text(f"Global: {{model_name: {name}}}\n")
    return folder


def test_the_real_recognition_model_gets_exactly_the_characters_of_its_own_metadata(tmp_path: Path) -> None:
    models = configs_directory() / "models"

    model = assemble(
        "PP-OCRv6_small_rec",
        REAL_RECOGNITION,
        None,
        store=Store(tmp_path),
        models=models,
        read_metadata=real_metadata,
    )

    characters = read_yaml(model.directory / "inference.yml")["PostProcess"]["character_dict"]
    assert len(characters) == 18_708
    assert characters == real_metadata(the_onnx_of(model))["character"].removesuffix("\n").split("\n")


def test_the_real_detection_model_gets_the_part_of_the_project_unchanged(tmp_path: Path) -> None:
    models = configs_directory() / "models"

    model = assemble(
        "PP-OCRv6_small_det", REAL_DETECTION, None, store=Store(tmp_path), models=models, read_metadata=unread
    )

    assert read_yaml(model.directory / "inference.yml") == read_yaml(models / "PP-OCRv6_small_det.yml")


def test_an_assembled_directory_holds_the_weights_as_they_are_and_is_published(house: House) -> None:
    model = house.assemble("det")

    assert the_onnx_of(model).read_bytes() == b"weights of det"
    assert model.digest == model.onnx_digest == digest_of_file(house.package / "det.onnx")
    assert (model.formats, model.paddle) == (("onnx",), None)
    assert model.directory.parent == house.store.root / "models"
    assert find_damage(model.directory) is None


def test_the_same_model_is_assembled_once(house: House) -> None:
    first = house.assemble("rec", read_metadata=lambda _: {"character": "a\nb"})

    second = house.assemble("rec", read_metadata=unread)

    assert second == first


def test_other_weights_make_another_directory(house: House) -> None:
    first = house.assemble("det")
    house.put("det", b"other weights", "Global: {model_name: det}\n")

    second = house.assemble("det")

    assert second.directory != first.directory
    assert [the_onnx_of(model).read_bytes() for model in (first, second)] == [b"weights of det", b"other weights"]


def test_another_part_of_the_project_makes_another_directory(house: House) -> None:
    first = house.assemble("det")
    house.put("det", b"weights of det", "Global: {model_name: det}\nPostProcess: {thresh: 0.3}\n")

    second = house.assemble("det")

    assert second.directory != first.directory
    assert second.digest == first.digest


@given(characters=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), min_size=1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_list_of_characters_survives_the_way_through_metadata_and_yaml(
    characters: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("house")
    house = House(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "site")

        model = house.assemble("rec", read_metadata=lambda _: {"character": "\n".join(characters) + "\n"})

    assert read_yaml(model.directory / "inference.yml")["PostProcess"]["character_dict"] == characters


def test_weights_without_the_characters_are_answered_with_what_they_have(house: House) -> None:
    with pytest.raises(SourceFailed, match=r"must carry its characters as metadata 'character'; it has \['producer'\]"):
        house.assemble("rec", read_metadata=lambda _: {"producer": "tests"})

    assert not list(house.store.root.glob("models/*"))


def test_weights_that_are_no_model_leave_nothing_in_the_store(house: House) -> None:
    def fail(path: Path) -> dict[str, str]:
        raise EngineFailed("not an ONNX file")

    with pytest.raises(EngineFailed, match="not an ONNX file"):
        house.assemble("rec", read_metadata=fail)

    assert not list(house.store.root.glob("models/*"))
    assert not list(house.store.root.glob("tmp/*"))


def test_weights_truncated_to_nothing_are_refused(house: House) -> None:
    house.put("det", b"", "Global: {model_name: det}\n")

    with pytest.raises(SourceFailed, match=r"det\.onnx has 0 bytes"):
        house.assemble("det")


def test_a_directory_damaged_in_the_store_is_assembled_again(house: House) -> None:
    model = house.assemble("det")
    the_onnx_of(model).write_bytes(b"damaged")

    again = house.assemble("det")

    assert again == model
    assert the_onnx_of(again).read_bytes() == b"weights of det"


class StoreOfAnUpgrade(Store):
    """A store during whose publication somebody upgrades the package beside it."""

    def publish(
        self, kind: str, key: str, write: Callable[[Path], None], *, about: Mapping[str, Any] | None = None
    ) -> Path:
        """Replace the weights, then publish."""
        (self.root.parent / "site" / "lent_models" / "det.onnx").write_bytes(b"another version")
        return super().publish(kind, key, write, about=about)


def test_weights_that_change_while_they_are_copied_are_not_published(house: House) -> None:
    house.store = StoreOfAnUpgrade(house.store.root)

    with pytest.raises(Retry, match=r"det\.onnx changed while it was read: it had sha256:.*; start again"):
        house.assemble("det")

    assert not list(house.store.root.glob("models/*"))


def test_a_model_unknown_to_the_project_is_answered_with_the_known_ones(house: House) -> None:
    (house.package / "new.onnx").write_bytes(b"weights")

    with pytest.raises(SourceFailed, match=r"configs/models has no new\.yml to complete it; known: \['det', 'rec'\]"):
        house.assemble("new")


def test_the_wanted_digest_is_accepted(house: House) -> None:
    digest = digest_of_file(house.package / "det.onnx")

    assert house.assemble("det", digest=digest).digest == digest


def test_another_digest_than_the_wanted_one_is_refused_with_both(house: House) -> None:
    seen, wanted = digest_of_file(house.package / "det.onnx"), "sha256:" + "0" * 64

    with pytest.raises(Refused) as refusal:
        house.assemble("det", digest=wanted)

    assert str(refusal.value) == (
        f"model 'det': package://lent_models/det.onnx has {seen}, the manifest demands {wanted}; one of them is wrong"
    )


def test_a_users_directory_is_used_in_place_and_never_written(house: House, tmp_path: Path) -> None:
    directory = a_directory(tmp_path / "mine")
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}

    model = house.assemble("det", f"file://{directory}", read_metadata=unread)

    digest = digest_of_file(directory / "inference.onnx")
    assert model == AssembledModel("det", directory, digest, directory / "inference.onnx", digest)
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert not house.store.root.exists()


def test_the_digest_of_a_users_directory_is_checked_too(house: House, tmp_path: Path) -> None:
    directory = a_directory(tmp_path / "mine")

    with pytest.raises(Refused, match=r"the manifest demands sha256:0{64}; one of them is wrong"):
        house.assemble("det", f"file://{directory}", digest="sha256:" + "0" * 64)


def test_a_directory_of_another_model_is_refused_with_both_names(house: House, tmp_path: Path) -> None:
    directory = a_directory(tmp_path / "mine", name="rec")

    with pytest.raises(Refused, match=r"model 'det': .* belongs to the model 'rec'; correct the name or the source"):
        house.assemble("det", f"file://{directory}")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Global: {}",
        b"Global: [model_name]",
        b"[]",
        b"Global: {model_name: \xff}",
        b"Global: {model_name: det",
        b"!!python/object/apply:os.getcwd []",
        b"Global: {model_name: det}\nx: " + b"[" * (MAX_INFERENCE_YML_DEPTH + 1),
        b"[" * 1_000_000,
        b"Global: {model_name: det}\n#" + b"x" * MAX_INFERENCE_YML_BYTES,
    ],
    ids=[
        "empty",
        "no name",
        "a list for a mapping",
        "a list",
        "not UTF-8",
        "cut off",
        "a Python object",
        "65 levels",
        "1,000,000 levels",
        "too large",
    ],
)
def test_an_inference_yml_that_does_not_say_its_model_is_no_source(
    content: bytes, house: House, tmp_path: Path
) -> None:
    directory = a_directory(tmp_path / "mine")
    (directory / "inference.yml").write_bytes(content)

    with pytest.raises(SourceFailed, match=r"model 'det': .*inference\.yml must be YAML with Global\.model_name: "):
        house.assemble("det", f"file://{directory}")


def test_an_inference_yml_at_the_deepest_nesting_is_read(house: House, tmp_path: Path) -> None:
    directory = a_directory(tmp_path / "mine")
    # The mapping of the document is one level, the lists are the others.
    lists = "[" * (MAX_INFERENCE_YML_DEPTH - 1) + "]" * (MAX_INFERENCE_YML_DEPTH - 1)
    (directory / "inference.yml").write_text(f"Global: {{model_name: det}}\nx: {lists}\n")

    assert house.assemble("det", f"file://{directory}").name == "det"


@pytest.mark.parametrize(
    ("onnx", "paddle", "wanted", "formats"),
    [
        (True, False, "Auto", ("onnx",)),
        (False, True, "Auto", ("paddle",)),
        (True, True, "Auto", ("onnx", "paddle")),
        (True, True, "ONNX", ("onnx",)),
        (True, True, "Paddle", ("paddle",)),
    ],
)
def test_a_directory_offers_the_formats_that_it_holds_and_the_manifest_wants(
    onnx: bool, paddle: bool, wanted: WantedFormat, formats: tuple[str, ...], house: House, tmp_path: Path
) -> None:
    directory = a_directory(tmp_path / "mine", onnx=onnx, paddle=paddle)

    model = house.assemble("det", f"file://{directory}", wanted_format=wanted)

    assert model.formats == formats
    assert not house.store.root.exists()


@pytest.mark.parametrize("wanted", ["Auto", "ONNX", "Paddle"])
def test_the_digest_is_that_of_the_onnx_file_unless_paddles_format_is_wanted(
    wanted: WantedFormat, house: House, tmp_path: Path
) -> None:
    directory = a_directory(tmp_path / "mine", paddle=True)
    paddle = find_paddle_model(directory)
    assert paddle is not None

    model = house.assemble("det", f"file://{directory}", wanted_format=wanted)

    assert model.digest == (paddle.digest if wanted == "Paddle" else digest_of_file(directory / "inference.onnx"))


def test_the_wanted_digest_of_a_model_in_paddles_format_covers_both_files(house: House, tmp_path: Path) -> None:
    directory = a_directory(tmp_path / "mine", onnx=False, paddle=True)
    digest = house.assemble("det", f"file://{directory}").digest
    (directory / "inference.pdiparams").write_bytes(b"other weights")

    with pytest.raises(Refused, match=f"the manifest demands {digest}; one of them is wrong"):
        house.assemble("det", f"file://{directory}", digest=digest)


@pytest.mark.parametrize(("wanted", "onnx"), [("ONNX", False), ("Paddle", True)])
def test_a_format_that_is_not_there_is_refused(wanted: WantedFormat, onnx: bool, house: House, tmp_path: Path) -> None:
    directory = a_directory(tmp_path / "mine", onnx=onnx, paddle=not onnx)

    with pytest.raises(Refused, match=f"wants the format {wanted}, file://.* holds no such model"):
        house.assemble("det", f"file://{directory}", wanted_format=wanted)


def test_a_file_of_a_package_is_no_model_in_paddles_format(house: House) -> None:
    with pytest.raises(Refused, match=r"is an ONNX file, the manifest wants the format Paddle"):
        house.assemble("det", wanted_format="Paddle")


@pytest.mark.parametrize("left", ["inference.json", "inference.pdiparams"])
def test_half_a_model_of_paddle_beside_an_onnx_file_stops_all_but_those_who_want_onnx(
    left: str, house: House, tmp_path: Path
) -> None:
    directory = a_directory(tmp_path / "mine", paddle=True)
    gone = {"inference.json": "inference.pdiparams", "inference.pdiparams": "inference.json"}[left]
    (directory / gone).unlink()

    with pytest.raises(SourceFailed, match=f"half a model of Paddle: \\['{left}'\\] without"):
        house.assemble("det", f"file://{directory}")

    assert house.assemble("det", f"file://{directory}", wanted_format="ONNX").formats == ("onnx",)


def test_a_converted_model_is_completed_by_the_inference_yml_of_its_source(house: House, tmp_path: Path) -> None:
    model = house.assemble("det", f"file://{a_directory(tmp_path / 'mine', onnx=False, paddle=True)}")
    (tmp_path / "converted.onnx").write_bytes(b"converted")

    directory = complete(model, tmp_path / "converted.onnx", house.store)

    assert directory.parent == house.store.root / "models"
    assert find_damage(directory) is None
    assert (directory / "inference.onnx").read_bytes() == b"converted"
    assert (directory / "inference.yml").read_bytes() == (model.directory / "inference.yml").read_bytes()


def test_another_inference_yml_or_onnx_file_makes_another_completed_directory(house: House, tmp_path: Path) -> None:
    source = a_directory(tmp_path / "mine", onnx=False, paddle=True)
    model, onnx = house.assemble("det", f"file://{source}"), tmp_path / "converted.onnx"
    onnx.write_bytes(b"converted")
    first = complete(model, onnx, house.store)

    again = complete(model, onnx, house.store)
    (source / "inference.yml").write_text("Global: {model_name: det}\nPostProcess: {thresh: 0.3}\n")
    second = complete(model, onnx, house.store)
    onnx.write_bytes(b"converted anew")
    third = complete(model, onnx, house.store)

    assert again == first
    assert len({first, second, third}) == 3


def test_a_model_without_its_inference_yml_cannot_be_completed(house: House, tmp_path: Path) -> None:
    model = house.assemble("det", f"file://{a_directory(tmp_path / 'mine')}")
    (model.directory / "inference.yml").unlink()

    with pytest.raises(SourceFailed, match=r"inference\.yml cannot be read: No such file or directory"):
        complete(model, the_onnx_of(model), house.store)
