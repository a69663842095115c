from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hpi_agent.samples import folder as folder_module
from hpi_agent.samples.files import MAX_PICTURE_PIXELS, decode_archive, decode_picture
from hpi_agent.samples.folder import MAX_FILES
from hpi_agent.samples.gather import ModelInputs, SampleSet, gather, sample_identity
from hpi_agent.samples.lines import render_lines
from hpi_core.errors import Refused, TooLarge
from support.images import png, png_bomb
from support.model_inputs import a_classifier, a_detector, a_recogniser, an_unknown_model, spec

X = spec("x", None, 4)
UNKNOWN = an_unknown_model(X)
Fill = Callable[..., Path]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Return a function that puts files into the folder of a model and returns the user's folder."""

    def fill(model: ModelInputs, **files: bytes) -> Path:
        own = tmp_path / "samples" / model.name
        own.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (own / name.replace("__", ".")).write_bytes(data)
        return tmp_path / "samples"

    return fill


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height), 200).save(buffer, kind, **options)
    return buffer.getvalue()


def npz(**named: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    return buffer.getvalue()


def shapes(samples: SampleSet) -> list[tuple[int, ...]]:
    return [array.shape for sample in samples.samples for array in sample.feeds.values()]


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("png", "PNG"), ("JPG", "JPEG"), ("jpeg", "JPEG"), ("bmp", "BMP"), ("webp", "WEBP"), ("tif", "TIFF")],
)
def test_a_page_of_every_format_becomes_one_sample(fill: Fill, suffix: str, kind: str) -> None:
    model = a_detector(settings={"limit_side_len": 64, "limit_type": "min"})

    samples = gather(model, folder=fill(model, **{f"page__{suffix}": picture(320, 256, kind)}))

    assert shapes(samples) == [(1, 3, 256, 320)]
    assert samples.samples[0].label == f"page.{suffix}, (1, 3, 256, 320)"


def test_pictures_of_lines_are_fed_in_batches_from_narrow_to_wide(fill: Fill) -> None:
    model = a_recogniser()
    widths = {f"{index}__png": picture(48 * index, 48) for index in (9, 1, 8, 2, 7, 3, 6)}

    samples = gather(model, folder=fill(model, **widths))

    assert shapes(samples) == [(6, 3, 48, 384), (1, 3, 48, 432)]
    assert samples.samples[0].label.startswith("1.png, 2.png, 3.png, 6.png")


def test_a_rendered_line_that_comes_from_a_file_gives_the_same_tensor(fill: Fill) -> None:
    model, line = a_recogniser(settings={"batch_size": 1}), render_lines(1)[0][0]
    buffer = io.BytesIO()
    Image.fromarray(line.picture).save(buffer, "PNG")

    samples = gather(model, folder=fill(model, line__png=buffer.getvalue()))

    again = gather(model, folder=fill(model, line__png=buffer.getvalue(), line2__png=buffer.getvalue()))
    assert all(np.array_equal(sample.feeds["x"], samples.samples[0].feeds["x"]) for sample in again.samples)
    assert shapes(again) == [(1, 3, 48, 320)] * 2


def test_a_photograph_is_turned_as_its_camera_says(fill: Fill) -> None:
    model = a_detector(settings={"limit_side_len": 64, "limit_type": "min"})
    exif = Image.Exif()
    exif[0x0112] = 6

    samples = gather(model, folder=fill(model, photo__jpg=picture(320, 256, "JPEG", exif=exif)))

    assert shapes(samples) == [(1, 3, 320, 256)]


def test_arrays_are_taken_as_they_are(fill: Fill) -> None:
    given_array = np.arange(8, dtype=np.float32).reshape(2, 4)

    samples = gather(UNKNOWN, folder=fill(UNKNOWN, one__npz=npz(x=given_array)))

    assert samples.origin == "folder"
    assert np.array_equal(samples.samples[0].feeds["x"], given_array)


def test_arrays_and_pictures_may_lie_together(fill: Fill) -> None:
    model = a_classifier()
    array = np.zeros((3, 3, 224, 224), dtype=np.float32)

    samples = gather(model, folder=fill(model, a__npz=npz(x=array), b__png=picture(300, 300)))

    assert shapes(samples) == [(3, 3, 224, 224), (1, 3, 224, 224)]


def test_the_only_model_of_a_pipeline_may_have_its_samples_in_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "one.npz").write_bytes(npz(x=np.zeros((1, 4), dtype=np.float32)))

    assert gather(UNKNOWN, folder=tmp_path, only_model=True).origin == "folder"


def test_a_loose_file_is_refused_where_a_pipeline_has_several_models(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(png(8, 8))

    with pytest.raises(Refused, match=r"holds 'one\.png' beside no folder 'detector'"):
        gather(a_detector(), folder=tmp_path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not exist; make it, or leave it out"):
        sample_identity(UNKNOWN, tmp_path / "nowhere")


def test_an_empty_folder_is_refused_and_hidden_files_do_not_fill_it(fill: Fill) -> None:
    folder = fill(UNKNOWN, __DS_Store=b"")

    with pytest.raises(Refused, match=r"is empty; put pictures or \.npz files into it"):
        sample_identity(UNKNOWN, folder)


def test_a_family_without_a_preparation_refuses_pictures_and_says_what_to_give(fill: Fill) -> None:
    folder = fill(UNKNOWN, one__png=png(8, 8))

    with pytest.raises(Refused, match=r"one\.png: pictures cannot be used .* as \.npz files with the arrays \['x'\]"):
        gather(UNKNOWN, folder=folder)


ZEROS = np.zeros((1, 4), dtype=np.float32)

UNUSABLE = {
    "a text": (a_detector(), "notes__txt", b"hello", r"notes\.txt cannot be a sample; allowed: \.png"),
    "no picture": (a_detector(), "a__png", b"hello", r"a\.png cannot be read as PNG"),
    "a picture of another format": (a_detector(), "a__png", picture(8, 8, "JPEG"), r"a\.png cannot be read as PNG"),
    "a picture cut short": (a_detector(), "a__jpg", picture(999, 999, "JPEG")[:2000], r"a\.jpg cannot be read as JPEG"),
    "an animation": (
        a_detector(),
        "a__webp",
        picture(8, 8, "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), 0)]),
        "has 2 frames",
    ),
    "16 bits": (a_detector(), "a__png", picture(8, 8, mode="I;16"), "8 bits per channel"),
    "a picture smaller than what is cut out": (
        a_classifier(
            PreProcess={
                "transform_ops": [
                    {"ResizeImage": {"resize_short": 100}},
                    {"CropImage": {"size": 224}},
                    {"NormalizeImage": None},
                ]
            }
        ),
        "a__png",
        png(300, 200),
        r"a\.png: a picture of 150 x 100 pixels",
    ),
    "no archive": (UNKNOWN, "a__npz", b"hello", r"a\.npz cannot be read as numpy's \.npz"),
    "another name": (UNKNOWN, "a__npz", npz(y=ZEROS), r"a\.npz: inputs must be exactly \['x'\], got \['y'\]"),
    "another type": (UNKNOWN, "a__npz", npz(x=ZEROS.astype(np.float64)), r"a\.npz: input 'x' must have dtype float32"),
    "another shape": (UNKNOWN, "a__npz", npz(x=ZEROS[:, :3]), r"a\.npz: input 'x' must have shape \(\?, 4\)"),
    "one array too many": (UNKNOWN, "a__npz", npz(x=ZEROS, y=ZEROS), r"a\.npz: it holds 2 arrays"),
    "an archive cut short": (UNKNOWN, "a__npz", npz(x=ZEROS)[:-30], r"a\.npz cannot be read"),
}


@pytest.mark.parametrize(("model", "name", "data", "words"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_cannot_be_used_is_named(
    model: ModelInputs, name: str, data: bytes, words: str, fill: Fill
) -> None:
    with pytest.raises(Refused, match=words):
        gather(model, folder=fill(model, **{name: data}))


def test_objects_in_an_archive_are_never_unpickled(fill: Fill, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"

    class Trap:
        def __reduce__(self) -> Any:
            return (mark.write_text, ("trapped",))

    array = np.empty(1, dtype=object)
    array[0] = Trap()

    with pytest.raises(Refused, match="Python objects"):
        gather(UNKNOWN, folder=fill(UNKNOWN, a__npz=npz(x=array)))
    assert not mark.exists()


def test_an_array_that_says_more_than_it_has_is_refused_before_memory_is_taken() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (2**40, 4), "fortran_order": False, "descr": "<f4"})  # type: ignore[no-untyped-call]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("x.npy", header.getvalue() + bytes(16))

    with pytest.raises(Refused, match="has 16 bytes"):
        decode_archive(Path("a.npz"), archive.getvalue(), [X], 2**20)


def test_an_archive_that_unpacks_to_too_much_is_refused_by_its_directory() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.npy", bytes(2**20 + 1))

    with pytest.raises(TooLarge, match=f"more than the {2**20} bytes"):
        decode_archive(Path("a.npz"), archive.getvalue(), [X], 2**20)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_damage_of_an_archive_fails_in_another_way(noise: bytes, offset: int) -> None:
    sound = npz(x=ZEROS)
    damaged = sound[:offset] + noise + sound[offset + len(noise) :]

    try:
        feeds = decode_archive(Path("a.npz"), damaged, [X], 2**20)
    except Refused:
        return
    assert feeds["x"].shape[1:] == (4,)


@given(st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "TIFF"]), st.binary(min_size=1, max_size=30), st.integers(0, 400))
def test_no_damage_of_a_picture_fails_in_another_way(kind: str, noise: bytes, offset: int) -> None:
    sound = picture(9, 7, kind)
    damaged = sound[:offset] + noise + sound[offset + len(noise) :]
    suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower())

    try:
        decoded = decode_picture(Path(f"a.{suffix}"), damaged)
    except Refused:
        return
    assert decoded.ndim == 3


def test_a_picture_bomb_is_refused_by_its_header() -> None:
    side = 5793
    assert side**2 > MAX_PICTURE_PIXELS >= (side - 1) ** 2

    with pytest.raises(TooLarge, match=f"{side} x {side} pixels; at most {MAX_PICTURE_PIXELS}"):
        decode_picture(Path("a.png"), png_bomb(side))
    with pytest.raises(TooLarge, match="pixels"):
        decode_picture(Path("a.png"), png_bomb(20_000))


def test_as_many_files_as_allowed_are_read_and_one_more_is_refused(fill: Fill) -> None:
    data = npz(x=ZEROS)
    folder = fill(UNKNOWN, **{f"{index}__npz": data for index in range(MAX_FILES)})
    assert len(gather(UNKNOWN, folder=folder).samples) == MAX_FILES

    fill(UNKNOWN, another__npz=data)
    with pytest.raises(TooLarge, match=f"more than {MAX_FILES} samples"):
        sample_identity(UNKNOWN, folder)


def test_the_bytes_of_a_folder_are_bounded(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    data = npz(x=ZEROS)
    folder = fill(UNKNOWN, a__npz=data, b__npz=data)

    monkeypatch.setattr(folder_module, "MAX_FOLDER_BYTES", 2 * len(data))
    sample_identity(UNKNOWN, folder)
    monkeypatch.setattr(folder_module, "MAX_FOLDER_BYTES", 2 * len(data) - 1)
    with pytest.raises(TooLarge, match=r"b\.npz has more than"):
        sample_identity(UNKNOWN, folder)


def test_the_tensors_of_a_folder_are_bounded(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_detector(settings={"limit_side_len": 64, "limit_type": "min"})
    folder = fill(model, a__png=png(320, 256))
    needed = 320 * 256 * 3 * (1 + 4)

    monkeypatch.setattr(folder_module, "MAX_FOLDER_BYTES", needed)
    gather(model, folder=folder)
    monkeypatch.setattr(folder_module, "MAX_FOLDER_BYTES", needed - 1)
    with pytest.raises(TooLarge, match="unpack to more than"):
        gather(model, folder=folder)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_refused_and_never_waited_for(fill: Fill, make: Callable[[Path], None]) -> None:
    folder = fill(UNKNOWN)
    make(folder / "unknown" / "a.npz")

    with pytest.raises(Refused, match=r"a\.npz (is no regular file|cannot be read: Is a directory)"):
        sample_identity(UNKNOWN, folder)


def test_a_link_to_nowhere_is_named(fill: Fill) -> None:
    folder = fill(UNKNOWN)
    (folder / "unknown" / "a.npz").symlink_to("nowhere.npz")

    with pytest.raises(Refused, match=r"a\.npz cannot be read: No such file"):
        sample_identity(UNKNOWN, folder)


def test_names_and_bytes_are_both_a_part_of_the_digest(fill: Fill) -> None:
    data = npz(x=ZEROS)
    folder = fill(UNKNOWN, a__npz=data)
    first = sample_identity(UNKNOWN, folder)

    (folder / "unknown" / "a.npz").rename(folder / "unknown" / "b.npz")
    renamed = sample_identity(UNKNOWN, folder)
    fill(UNKNOWN, b__npz=npz(x=ZEROS + 1))
    changed = sample_identity(UNKNOWN, folder)

    assert len({first["digest"], renamed["digest"], changed["digest"]}) == 3


def test_the_place_of_a_folder_is_no_part_of_the_digest(fill: Fill, tmp_path: Path) -> None:
    folder = fill(UNKNOWN, a__npz=npz(x=ZEROS))
    before = sample_identity(UNKNOWN, folder)

    folder.rename(tmp_path / "moved")

    assert sample_identity(UNKNOWN, tmp_path / "moved") == before


@pytest.mark.parametrize("name", ["..", ".", "../other", "/etc", ""])
def test_a_name_that_is_no_folder_name_leads_nowhere(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    model = ModelInputs(name, (X,), {}, Path("models"))

    assert gather(model, folder=folder).origin == "noise"
