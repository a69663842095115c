"""Read the files of a user's folder of samples, within bounds: pictures and numpy archives."""

from __future__ import annotations

import io
import math
import os
import stat
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec, check_feeds
from hpi_core.errors import Refused, TooLarge

PICTURE_FORMATS: Final[Mapping[str, str]] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
ARCHIVE: Final = ".npz"

MAX_PICTURE_PIXELS: Final = 2**25
"""Width times height: 33 megapixels, an A4 page at 600 dots per inch."""
EIGHT_BIT_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
"""Pillow's modes of at most 8 bits a channel; OpenCV and Pillow disagree about pictures with more."""


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture, by its name."""
    return path.suffix.lower() in PICTURE_FORMATS


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        Refused: It cannot be read, or is no regular file.
        TooLarge: It has more bytes than allowed.
    """
    try:
        # Not to wait for a writer where a pipe lies in the folder.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise Refused(f"{path} is no regular file; take it out of the folder of samples")
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}; mend it or take it out of the folder") from error
    if len(data) > max_bytes:
        raise TooLarge(f"{path} has more than the {max_bytes} bytes that are left for the folder; use fewer samples")
    return data


def decode_picture(path: Path, data: bytes) -> NDArray[np.uint8]:
    """Return a picture as red, green and blue, shape (height, width, 3), turned as EXIF says, without transparency.

    Raises:
        Refused: It is no picture of the format that its name says, is damaged, or has several frames or 16 bits.
        TooLarge: It has too many pixels; told from its header, before it is decoded.
    """
    from PIL import Image, ImageOps

    wanted = PICTURE_FORMATS[path.suffix.lower()]
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a picture that is very large; our own bound is below that.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=[wanted]) as image:
                _check_header(path, image)
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Image.DecompressionBombError as error:
        raise TooLarge(f"{path}: {error}; at most {MAX_PICTURE_PIXELS} pixels are allowed; scale it down") from error
    except (Refused, MemoryError):
        raise
    except Exception as error:
        # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error and others for damaged files.
        raise Refused(
            f"{path} cannot be read as {wanted}: {type(error).__name__}: {error}; mend it or take it out of the folder"
        ) from error


def _check_header(path: Path, image: Any) -> None:
    width, height = image.size
    if width * height > MAX_PICTURE_PIXELS:
        raise TooLarge(f"{path} has {width} x {height} pixels; at most {MAX_PICTURE_PIXELS} are allowed; scale it down")
    if getattr(image, "n_frames", 1) != 1:
        raise Refused(f"{path} has {image.n_frames} frames; a sample is one picture; save each as a file of its own")
    if image.mode not in EIGHT_BIT_MODES:
        raise Refused(f"{path} has pixels of the kind {image.mode!r}; save it with 8 bits per channel")


def decode_archive(path: Path, data: bytes, specs: Sequence[TensorSpec], max_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `.npz` file, one per declared input.

    Raises:
        Refused: The file is damaged, holds Python objects, or does not fit what the model declares.
        TooLarge: The arrays have more bytes than allowed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > max_bytes:
                raise TooLarge(f"it unpacks to more than the {max_bytes} bytes that are left; use fewer samples")
            if len(entries) > len(specs):
                raise Refused(f"it holds {len(entries)} arrays; the model has {[spec.name for spec in specs]}")
            feeds = {entry.filename.removesuffix(".npy"): _read_array(archive.read(entry)) for entry in entries}
        return check_feeds(tuple(specs), feeds)
    except Refused as error:
        raise type(error)(f"{path}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:
        # The unpackers raise BadZipFile, zlib.error, EOFError, NotImplementedError and others for damaged files.
        raise Refused(
            f"{path} cannot be read as numpy's .npz: {type(error).__name__}: {error}; write it again with numpy.savez"
        ) from error


def _read_array(data: bytes) -> NDArray[Any]:
    """Return the array of a `.npy` file; its header decides nothing that its bytes do not bear out.

    numpy itself would allocate what the header says before it reads, and unpickle on request.
    """
    file = io.BytesIO(data)
    version: tuple[int, int] = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format {version}")
    read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or dtype.names is not None:
        raise ValueError("an array of Python objects or records; plain numbers alone are read")
    rest = data[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"an array says {shape} of {dtype} and has {len(rest)} bytes")
    array: NDArray[Any] = np.frombuffer(rest, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return array
