"""Look at an image before it is decoded: what it is, how large it says it is, and whether that is allowed.

Only headers are read. A file that passes may still be damaged further in; the decoder finds that, within the size that
was checked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpi_agent.pipelines.image_headers import READERS, Header, ImageFormat
from hpi_core.errors import Refused, TooLarge

PDF_MARK: Final = b"%PDF-"
PDF_MARK_WITHIN: Final = 1024
"""Readers look for the mark in this many bytes (PDF Reference 1.7, appendix H, implementation note 13)."""

SIGNATURES: Final[tuple[tuple[bytes, ImageFormat], ...]] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)

UNSUPPORTED: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"8BPS", "PSD"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"<svg", "SVG"),
)
"""Image formats that people send and this server does not take: offset, mark, name."""


@dataclass(frozen=True)
class ImageLimits:
    """Upper bounds of one image; each is allowed, one more is refused."""

    pixels: int = 178_956_970
    """Width times height. The default is PaddleX's own (paddlex 3.7.2, `MAX_IMAGE_PIXELS`)."""
    side: int = 65_535
    """Width, and height. Unit: pixels. The largest that every supported format but PNG, BMP and TIFF can state."""
    decoded_bytes: int = 2**30
    """Bytes of one decoded frame, at no less than the three of a colour image per pixel."""
    frames: int = 256
    """Frames of an animation or pages of a file."""


@dataclass(frozen=True)
class ImageFacts:
    """What an image says about itself."""

    format: ImageFormat
    width: int
    """Unit: pixels, before any rotation that EXIF asks for."""
    height: int
    """Unit: pixels, before any rotation that EXIF asks for."""
    frames: int
    """Frames of a GIF or WebP animation, pages of a TIFF; 1 for the other formats."""


def probe(data: bytes, limits: ImageLimits) -> ImageFacts:
    """Return what an image says about itself, without decoding it.

    Raises:
        Refused: The bytes are no image, one of an unsupported format, cut off in the header, or without pixels.
        TooLarge: The image exceeds a limit.
    """
    header = READERS[recognize(data)](data, limits.frames)
    for width, height in header.sizes:
        check_size(header, width, height, limits)
    if header.frames > limits.frames:
        raise TooLarge(f"the {header.format} image has more than {limits.frames} frames; send fewer at a time")
    width, height = header.sizes[0]
    return ImageFacts(header.format, width, height, header.frames)


def check_size(header: Header, width: int, height: int, limits: ImageLimits) -> None:
    """Refuse a size that has no pixels or too many.

    Raises:
        Refused: A side is less than 1.
        TooLarge: A side, the pixels or the decoded bytes exceed the limit.
    """
    size = f"{header.format} image of {width} x {height} pixels"
    if width < 1 or height < 1:
        raise Refused(f"the {size} has none; both sides must be at least 1")
    if max(width, height) > limits.side:
        raise TooLarge(f"a side of the {size} is too long; at most {limits.side} are allowed; scale it down")
    if width * height > limits.pixels:
        raise TooLarge(f"the {size} has {width * height}; at most {limits.pixels} are allowed; scale it down")
    decoded_bytes = width * height * max(3, header.pixel_bytes)
    if decoded_bytes > limits.decoded_bytes:
        raise TooLarge(
            f"the {size} decodes to {decoded_bytes} bytes; at most {limits.decoded_bytes} are allowed; "
            "scale it down or store fewer bits per pixel"
        )


def recognize(data: bytes) -> ImageFormat:
    """Return the format of an image by its first bytes.

    Raises:
        Refused: The bytes begin like no supported image.
    """
    allowed = f"send one of {', '.join(READERS)}"
    if not data:
        raise Refused(f"the image has 0 bytes; {allowed}")
    found = image_format(data)
    if found is not None:
        return found
    if looks_like_pdf(data):
        raise Refused(f"this is a PDF, not an image; {allowed}, one per page")
    for offset, mark, name in UNSUPPORTED:
        if data.startswith(mark, offset):
            raise Refused(f"{name} images are not supported; {allowed}")
    raise Refused(f"the {len(data)} bytes are not an image: they begin with {data[:8].hex(' ')}; {allowed}")


def image_format(data: bytes) -> ImageFormat | None:
    """Return the supported format that the first bytes announce, None when they announce none."""
    for mark, name in SIGNATURES:
        if data.startswith(mark):
            return name
    return "WEBP" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def looks_like_pdf(data: bytes) -> bool:
    """Return whether bytes are to be read as a PDF: its mark is near the start, and no image begins there."""
    return image_format(data) is None and data.find(PDF_MARK, 0, PDF_MARK_WITHIN) >= 0
