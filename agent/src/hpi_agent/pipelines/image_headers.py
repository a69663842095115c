"""Sizes that image files state in their headers, read with `struct` alone: no pixel and no text is decompressed.

A file may state several sizes (pages, tiles, a canvas and its frames). All of them are returned, because a decoder may
allocate for any of them. Every walk has a limit on its steps, so the time does not grow with the file.

Source:
    PNG, W3C Recommendation, third edition, sections 5 and 11; JPEG, ITU-T T.81, annex B; GIF89a specification;
    WebP container specification, RFC 9649; TIFF 6.0, section 2; BITMAPCOREHEADER and BITMAPINFOHEADER, Microsoft.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from hpi_core.errors import Refused, TooLarge

ImageFormat = Literal["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]

MAX_STEPS: Final[dict[str, int]] = {"GIF": 65_536, "JPEG": 8_192, "TIFF": 65_536, "WEBP": 8_192}
"""Blocks of a file that are looked at: 16 MB of GIF data, 2,000 pages of TIFF with 30 tags, segments and chunks of the
others. Giving up takes at most about 10 ms of one core."""

PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_WITHOUT_LENGTH: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
TIFF_TYPES: Final = {1: "B", 3: "H", 4: "I"}


@dataclass(frozen=True)
class Header:
    """What a file states about its images."""

    format: ImageFormat
    sizes: tuple[tuple[int, int], ...]
    """Width and height: the first is the image's own, the others are what else a decoder may allocate. Pixels."""
    pixel_bytes: int
    """Bytes of one decoded pixel as the file stores it."""
    frames: int


class _Bytes:
    """A file's bytes; reading past the end is a refusal."""

    def __init__(self, data: bytes, kind: ImageFormat) -> None:
        self.data = data
        self.kind: Final = kind
        self._steps = 0

    def read(self, layout: str, offset: int) -> tuple[int, ...]:
        """Return the integers of a `struct` layout."""
        end = offset + struct.calcsize(layout)
        if end > len(self.data):
            raise Refused(
                f"the {self.kind} header is cut off: it needs {end} bytes, got {len(self.data)}; send it whole"
            )
        return struct.unpack_from(layout, self.data, offset)

    def step(self, count: int = 1) -> None:
        """Count blocks looked at."""
        self._steps += count
        most = MAX_STEPS[self.kind]
        if self._steps > most:
            raise TooLarge(f"the {self.kind} file has more than {most} blocks before its size is known; save it anew")

    def broken(self, reason: str) -> Refused:
        """Return the refusal of a header that contradicts its format."""
        return Refused(f"the {self.kind} header is not valid: {reason}; save the image anew")


def read_png(data: bytes, most_frames: int) -> Header:
    """Return the header of a PNG; the text and colour profile chunks stay compressed."""
    file = _Bytes(data, "PNG")
    length, name, width, height, depth, color, checksum = file.read(">IIIIBB3xI", 8)
    if (length, name) != (13, int.from_bytes(b"IHDR", "big")):
        raise file.broken("the first chunk must be IHDR with 13 bytes")
    if zlib.crc32(data[12:29]) != checksum:
        raise file.broken("the checksum of IHDR does not fit")
    if depth not in PNG_DEPTHS.get(color, ()):
        raise file.broken(f"colour type {color} with {depth} bits does not exist")
    channels = PNG_CHANNELS[color] * (2 if depth == 16 else 1)
    return Header("PNG", ((width, height),), channels, 1)


def read_jpeg(data: bytes, most_frames: int) -> Header:
    """Return the header of a JPEG: its first frame marker. Thumbnails inside EXIF are skipped."""
    file = _Bytes(data, "JPEG")
    offset = 2
    while True:
        file.step()
        # Decoders skip stray bytes before a marker and fill bytes inside it; so must whoever predicts them.
        offset = data.find(b"\xff", offset)
        while offset >= 0 and data[offset : offset + 1] == b"\xff":
            file.step()
            offset += 1
        if offset < 0 or offset >= len(data):
            raise Refused("the JPEG header is cut off: no frame marker was found; send the file whole")
        marker = data[offset]
        offset += 1
        if marker in JPEG_WITHOUT_LENGTH:
            continue
        if marker in (0xD9, 0xDA):
            raise file.broken("its data begins before a frame marker")
        if marker in JPEG_FRAMES:
            _, depth, height, width, components = file.read(">HBHHB", offset)
            return Header("JPEG", ((width, height),), max(1, components) * (2 if depth > 8 else 1), 1)
        [length] = file.read(">H", offset)
        offset += max(2, length)


def read_bmp(data: bytes, most_frames: int) -> Header:
    """Return the header of a BMP; a negative height means that the rows come from the top."""
    file = _Bytes(data, "BMP")
    [header_bytes] = file.read("<I", 14)
    if header_bytes == 12:
        width, height, _, bits = file.read("<HHHH", 18)
    elif header_bytes >= 16:
        width, height, _, bits = file.read("<iiHH", 18)
    else:
        raise file.broken(f"its size must be 12, or 16 and more, got {header_bytes}")
    if bits not in (1, 2, 4, 8, 16, 24, 32):
        raise file.broken(f"a pixel must have 1, 2, 4, 8, 16, 24 or 32 bits, got {bits}")
    return Header("BMP", ((width, abs(height)),), (bits + 7) // 8, 1)


def read_gif(data: bytes, most_frames: int) -> Header:
    """Return the header of a GIF: the larger of its screen and its frames. Counts no more than one frame too many."""
    file = _Bytes(data, "GIF")
    width, height, flags = file.read("<HHB", 6)
    frames = 0
    offset = 13 + _color_table_bytes(flags)
    while frames <= most_frames and offset < len(data):
        file.step()
        block = data[offset]
        if block == 0x3B:
            break
        if block == 0x2C:
            left, top, wide, high, flags = file.read("<HHHHB", offset + 1)
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            offset = _after_sub_blocks(file, offset + 11 + _color_table_bytes(flags))
        elif block == 0x21:
            offset = _after_sub_blocks(file, offset + 2)
        else:
            raise file.broken(f"a block must begin with 0x21, 0x2c or 0x3b, got {block:#04x} at byte {offset}")
    if frames == 0:
        raise Refused("the GIF file holds no frame; send it whole")
    return Header("GIF", ((width, height),), 4, frames)


def _color_table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(file: _Bytes, offset: int) -> int:
    """Return where a chain of sub-blocks ends; one that the file cuts off ends with it, as decoders allow."""
    while offset < len(file.data) and file.data[offset]:
        file.step()
        offset += 1 + file.data[offset]
    return offset + 1


def read_webp(data: bytes, most_frames: int) -> Header:
    """Return the header of a WebP: lossy, lossless or extended, with the canvas and the frame of a still image."""
    file = _Bytes(data, "WEBP")
    sizes: list[tuple[int, int]] = []
    frames = 0
    offset = 12
    while frames <= most_frames:
        file.step()
        if sizes and offset + 8 > len(data):
            break
        kind, length = file.read("<II", offset)
        name = kind.to_bytes(4, "little")
        if name == b"ANMF":
            frames += 1
        elif name in WEBP_SIZES:
            sizes.append(WEBP_SIZES[name](file, offset + 8))
            if name != b"VP8X":
                break
        elif not sizes:
            raise file.broken("the first chunk must be VP8, VP8L or VP8X")
        offset += 8 + length + length % 2
    return Header("WEBP", tuple(sizes), 4, max(1, frames))


def _lossy_size(file: _Bytes, offset: int) -> tuple[int, int]:
    start, middle, width, height = file.read("<3xBHHH", offset)
    if (start, middle) != (0x9D, 0x2A01):
        raise file.broken("the start code of the lossy frame is missing")
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(file: _Bytes, offset: int) -> tuple[int, int]:
    signature, bits = file.read("<BI", offset)
    if signature != 0x2F:
        raise file.broken("the signature of the lossless frame is missing")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _canvas_size(file: _Bytes, offset: int) -> tuple[int, int]:
    width, width_high, height, height_high = file.read("<4xHBHB", offset)
    return (width_high << 16 | width) + 1, (height_high << 16 | height) + 1


WEBP_SIZES: Final[dict[bytes, Callable[[_Bytes, int], tuple[int, int]]]] = {
    b"VP8 ": _lossy_size,
    b"VP8L": _lossless_size,
    b"VP8X": _canvas_size,
}


def read_tiff(data: bytes, most_frames: int) -> Header:
    """Return the header of a TIFF: every page, and every tile size. Counts no more than one page too many."""
    file = _Bytes(data, "TIFF")
    order = "<" if data[:2] == b"II" else ">"
    sizes: list[tuple[int, int]] = []
    pixel_bytes, frames = 1, 0
    seen: set[int] = set()
    [offset] = file.read(order + "I", 4)
    while offset and frames <= most_frames:
        if offset in seen:
            raise file.broken(f"its pages form a circle at byte {offset}")
        seen.add(offset)
        pairs = list(_tiff_tags(file, order, offset))
        tags = dict(pairs)
        # Decoders differ in which of two equal tags they believe.
        if len(tags) != len(pairs):
            raise file.broken(f"the page at byte {offset} states a size twice")
        if 256 not in tags or 257 not in tags:
            raise file.broken(f"the page at byte {offset} states no width or no height")
        sizes.append((tags[256], tags[257]))
        if 322 in tags and 323 in tags:
            sizes.append((tags[322], tags[323]))
        pixel_bytes = max(pixel_bytes, tags.get(277, 1) * ((tags.get(258, 1) + 7) // 8))
        frames += 1
        [count] = file.read(order + "H", offset)
        [offset] = file.read(order + "I", offset + 2 + 12 * count)
    if not sizes:
        raise file.broken("it has no page")
    return Header("TIFF", tuple(sizes), pixel_bytes, frames)


def _tiff_tags(file: _Bytes, order: str, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the tags of a page that say how large it is, with their first value."""
    [count] = file.read(order + "H", offset)
    file.step(1 + count)
    for place in range(offset + 2, offset + 2 + 12 * count, 12):
        tag, kind, values = file.read(order + "HHI", place)
        if tag not in (256, 257, 258, 277, 322, 323):
            continue
        if kind not in TIFF_TYPES or values == 0:
            raise file.broken(f"tag {tag} must hold unsigned integers")
        layout = order + TIFF_TYPES[kind]
        where = place + 8
        if struct.calcsize(layout) * values > 4:
            [where] = file.read(order + "I", where)
        [value] = file.read(layout, where)
        yield tag, value


READERS: Final[dict[ImageFormat, Callable[[bytes, int], Header]]] = {
    "BMP": read_bmp,
    "GIF": read_gif,
    "JPEG": read_jpeg,
    "PNG": read_png,
    "TIFF": read_tiff,
    "WEBP": read_webp,
}
