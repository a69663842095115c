"""The user's own samples: pictures or arrays in a folder that has the model's name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.samples.files import ARCHIVE, PICTURE_FORMATS, decode_archive, decode_picture, read_file
from hpi_agent.samples.preparation import LinePreparation, PagePreparation, Preparation
from hpi_agent.samples.profile import Shapes
from hpi_agent.samples.render import filled, page_sides, sample_of
from hpi_agent.samples.sample import Sample
from hpi_core.digest import PREFIX
from hpi_core.errors import Refused, TooLarge

FOLDER_VERSION: Final = 1
"""Raised when the same files are prepared into other tensors; a part of the samples' digest."""

MAX_FILES: Final = 256
MAX_FOLDER_BYTES: Final = 512 * 2**20
"""Bytes of all files of one model, packed and unpacked, and of all tensors made of them."""


def folder_of(model_name: str, folder: Path, only_model: bool) -> Path | None:
    """Return where a model's samples lie, or None: the user has none for this model.

    Args:
        model_name: The model.
        folder: The user's folder: `<folder>/<model name>/`, or the folder itself where the pipeline has one model.
        only_model: Whether the pipeline has one model.

    Raises:
        Refused: There is no such folder, or files lie in it of which nobody can say which model they are for.
    """
    if not folder.is_dir():
        raise Refused(f"the folder of samples {folder} does not exist; make it, or leave it out")
    named = folder / model_name
    is_name = model_name not in ("", "..") and Path(model_name).name == model_name
    if is_name and named.is_dir():
        return named
    if only_model:
        return folder
    loose = [path.name for path in _visible(folder) if not path.is_dir()]
    if loose:
        raise Refused(
            f"{folder} holds {loose[0]!r} beside no folder {model_name!r}: the pipeline has several models, and a file "
            f"in {folder} itself belongs to none; put it into {folder}/NAME OF THE MODEL"
        )
    return None


def list_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of one model, by name; names that begin with a dot are left alone.

    Raises:
        Refused: There is none, or something lies there that cannot be a sample.
        TooLarge: There are too many.
    """
    found = _visible(folder)
    if not found:
        raise Refused(f"the folder of samples {folder} is empty; put pictures or .npz files into it, or leave it out")
    if len(found) > MAX_FILES:
        raise TooLarge(f"{folder} holds more than {MAX_FILES} samples; use fewer")
    for path in found:
        if path.suffix.lower() not in (*PICTURE_FORMATS, ARCHIVE):
            raise Refused(
                f"{path} cannot be a sample; allowed: {', '.join((*PICTURE_FORMATS, ARCHIVE))}; take it out of the "
                "folder"
            )
    return found


def _visible(folder: Path) -> tuple[Path, ...]:
    found = []
    try:
        for path in folder.iterdir():
            if not path.name.startswith("."):
                found.append(path)
            if len(found) > MAX_FILES:
                break
    except OSError as error:
        raise Refused(f"the folder of samples {folder} cannot be read: {error.strerror}") from error
    return tuple(sorted(found))


def read_files(files: Sequence[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield every file with its bytes.

    Raises:
        Refused: One cannot be read.
        TooLarge: Together they have too many bytes.
    """
    left = MAX_FOLDER_BYTES
    for path in files:
        data = read_file(path, left)
        left -= len(data)
        yield path, data


class FolderDigest:
    """Collects names and bytes of samples into `sha256:<hex>`."""

    def __init__(self) -> None:
        self._state = hashlib.sha256(f"{FOLDER_VERSION}".encode())

    def add(self, path: Path, data: bytes) -> None:
        """Take one file in; its folder does not count."""
        name = path.name.encode("utf-8", "surrogateescape")
        for part in (name, data):
            # The length keeps a name and its bytes apart.
            self._state.update(len(part).to_bytes(8, "big") + part)

    @property
    def value(self) -> str:
        """The digest of what was taken in."""
        return PREFIX + self._state.hexdigest()


def folder_samples(
    files: Sequence[tuple[Path, bytes]],
    specs: Sequence[TensorSpec],
    preparation: Preparation | None,
    shapes: Shapes | None,
    reason: str,
) -> tuple[Sample, ...]:
    """Return the samples of the user's files.

    Args:
        files: Names and bytes.
        specs: The inputs that the model file declares.
        preparation: How pictures are prepared; None: nobody knows, and pictures are refused.
        shapes: Smallest, usual and largest shape of the one input that takes pictures, or None.
        reason: Why nobody knows.

    Raises:
        Refused: A file cannot be used; the text names it.
        TooLarge: The tensors have too many bytes.
    """
    left = MAX_FOLDER_BYTES
    samples: list[Sample] = []
    pictures: list[tuple[Path, NDArray[np.uint8]]] = []
    for path, data in files:
        if path.suffix.lower() == ARCHIVE:
            feeds = decode_archive(path, data, specs, left)
            left -= sum(array.nbytes for array in feeds.values())
            samples.append(Sample(path.name, feeds))
        elif preparation is None or shapes is None:
            raise Refused(
                f"{path}: pictures cannot be used for this model: {reason}; give its inputs as .npz files with the "
                f"arrays {[spec.name for spec in specs]}"
            )
        else:
            picture = decode_picture(path, data)
            left -= picture.nbytes
            pictures.append((path, picture))
            _check(left)
    if preparation is not None and shapes is not None:
        for label, tensor in _tensors(pictures, preparation, shapes):
            left -= tensor.nbytes
            _check(left)
            samples.append(sample_of(specs[0], label, tensor))
    return tuple(samples)


def _check(left: int) -> None:
    if left < 0:
        raise TooLarge(f"the samples unpack to more than {MAX_FOLDER_BYTES} bytes of pictures and tensors; use fewer")


def _tensors(
    pictures: Sequence[tuple[Path, NDArray[np.uint8]]], preparation: Preparation, shapes: Shapes
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    if isinstance(preparation, LinePreparation):
        yield from _line_batches(pictures, preparation, shapes)
        return
    for path, picture in pictures:
        if isinstance(preparation, PagePreparation):
            smallest, largest = page_sides(shapes)
            yield path.name, filled(preparation.tensor(picture, smallest, largest), shapes[0][0])
            continue
        try:
            tensor = preparation.tensor(picture)
        except Refused as error:
            raise Refused(f"{path}: {error}") from None
        yield path.name, filled(tensor, shapes[0][0])


def _line_batches(
    pictures: Sequence[tuple[Path, NDArray[np.uint8]]], preparation: LinePreparation, shapes: Shapes
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    ordered = sorted(pictures, key=lambda item: item[1].shape[1] / item[1].shape[0])
    size = min(preparation.batch, shapes[2][0])
    for start in range(0, len(ordered), size):
        batch = ordered[start : start + size]
        label = ", ".join(path.name for path, _ in batch)
        yield label, filled(preparation.tensor([picture for _, picture in batch], shapes[2][3]), shapes[0][0])
