"""Looking at an image before it is decoded: sizes by format, limits, and hostile files."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpi_agent.pipelines.image_headers import MAX_STEPS, READERS, ImageFormat
from hpi_agent.pipelines.image_probe import ImageFacts, ImageLimits, looks_like_pdf, probe
from hpi_core.errors import Refused, TooLarge

LIMITS = ImageLimits()
MODES: dict[ImageFormat, list[str]] = {
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB"],
    "JPEG": ["L", "RGB", "CMYK"],
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "TIFF": ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F"],
    "WEBP": ["RGB", "RGBA"],
}
FORMATS = sorted(MODES)


def an_image(kind: ImageFormat, width: int = 7, height: int = 5, mode: str = "RGB", **options: Any) -> bytes:
    """Return a file that Pillow wrote."""
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind, **options)
    return file.getvalue()


def an_animation(kind: ImageFormat, frames: int) -> bytes:
    """Return a file of several frames or pages, each of another shade."""
    first, *others = [Image.new("L", (7, 5), 20 * place) for place in range(frames)]
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=others)
    return file.getvalue()


def a_chunk(name: bytes, content: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def a_png_header(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """Return the beginning of a PNG that states a size."""
    return b"\x89PNG\r\n\x1a\n" + a_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def a_tiff(*pages: list[tuple[int, int, int]], next_page: int | None = None) -> bytes:
    """Return a TIFF of pages given as tags (number, type, value); the last page points to `next_page`."""
    body, offset = b"II*\0" + struct.pack("<I", 8), 8
    for place, tags in enumerate(pages):
        end = offset + 2 + 12 * len(tags) + 4
        following = end if place + 1 < len(pages) else (next_page or 0)
        body += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
        body += struct.pack("<I", following)
        offset = end
    return body


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind in FORMATS for mode in MODES[kind]])
@settings(max_examples=5, derandomize=True)
@given(width=st.integers(1, 40), height=st.integers(1, 40))
def test_the_size_equals_that_of_the_library_that_wrote_the_file(
    kind: ImageFormat, mode: str, width: int, height: int
) -> None:
    data = an_image(kind, width, height, mode)

    assert probe(data, LIMITS) == ImageFacts(kind, width, height, 1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_endian": True}),
        ("PNG", {"interlace": 1}),
    ],
    ids=lambda value: str(value)[:24],
)
def test_variants_of_a_format_state_their_size_too(kind: ImageFormat, options: dict[str, Any]) -> None:
    assert probe(an_image(kind, **options), LIMITS) == ImageFacts(kind, 7, 5, 1)


def test_a_big_endian_tiff_is_read() -> None:
    little = a_tiff([(256, 4, 7), (257, 4, 5)])
    big = b"MM\0*" + struct.pack(">IH", 8, 2) + struct.pack(">HHII", 256, 4, 1, 7) + struct.pack(">HHII", 257, 4, 1, 5)

    assert probe(big + bytes(4), LIMITS) == probe(little, LIMITS) == ImageFacts("TIFF", 7, 5, 1)


def test_a_jpeg_s_thumbnail_in_exif_does_not_count() -> None:
    thumbnail = an_image("JPEG", 160, 120)

    data = an_image("JPEG", 7, 5, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail)

    assert thumbnail in data
    assert probe(data, LIMITS) == ImageFacts("JPEG", 7, 5, 1)


def test_stray_and_fill_bytes_before_a_jpeg_marker_are_skipped_as_decoders_do() -> None:
    data = an_image("JPEG", 7, 5)

    assert probe(data[:20] + b"stray\xff\xff" + data[20:], LIMITS) == ImageFacts("JPEG", 7, 5, 1)


def test_a_bmp_with_rows_from_the_top_has_a_positive_height() -> None:
    data = bytearray(an_image("BMP", 7, 5))
    data[22:26] = struct.pack("<i", -5)

    assert probe(bytes(data), LIMITS) == ImageFacts("BMP", 7, 5, 1)


def test_a_bmp_with_the_oldest_header_is_read() -> None:
    data = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 7, 5, 1, 24)

    assert probe(data, LIMITS) == ImageFacts("BMP", 7, 5, 1)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP"])
def test_frames_are_counted_up_to_the_limit_and_refused_beyond(kind: ImageFormat) -> None:
    data = an_animation(kind, 3)

    assert probe(data, ImageLimits(frames=3)).frames == 3
    with pytest.raises(TooLarge, match=f"the {kind} image has more than 2 frames"):
        probe(data, ImageLimits(frames=2))


@pytest.mark.parametrize("kind", FORMATS)
def test_one_pixel_is_an_image(kind: ImageFormat) -> None:
    assert probe(an_image(kind, 1, 1), LIMITS) == ImageFacts(kind, 1, 1, 1)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("size", [(65_000, 1), (1, 65_000)])
def test_a_line_of_65000_pixels_is_an_image(kind: ImageFormat, size: tuple[int, int]) -> None:
    assert probe(an_image(kind, *size), LIMITS) == ImageFacts(kind, *size, 1)


def test_a_png_bomb_is_refused_by_its_header() -> None:
    rows = zlib.compress(bytes(30_000 * 1000), 9)
    data = a_png_header(30_000, 30_000) + a_chunk(b"IDAT", rows * 3) + a_chunk(b"IEND", b"")
    assert len(data) < 100_000

    with pytest.raises(TooLarge, match="PNG image of 30000 x 30000 pixels has 900000000; at most 178956970"):
        probe(data, LIMITS)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_text_of_a_png_is_not_inflated(name: bytes) -> None:
    start = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[name]
    text = a_chunk(name, start + zlib.compress(bytes(50_000_000), 9))
    data = a_png_header(7, 5) + text * 20

    tracemalloc.start()
    facts = probe(data, LIMITS)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert facts == ImageFacts("PNG", 7, 5, 1)
    assert peak_bytes < 100_000


LIMIT_CASES: dict[str, tuple[ImageLimits, bytes, bytes, str]] = {
    "side": (ImageLimits(), a_png_header(65_535, 1), a_png_header(65_536, 1), "a side of .* at most 65535"),
    "the other side": (ImageLimits(side=9), a_png_header(1, 9), a_png_header(1, 10), "a side of .* at most 9"),
    "pixels": (ImageLimits(pixels=35), a_png_header(7, 5), a_png_header(6, 6), "has 36; at most 35"),
    "decoded bytes": (
        ImageLimits(decoded_bytes=210),
        a_png_header(7, 5, depth=16),
        a_png_header(7, 5, depth=16, color=6),
        "decodes to 280 bytes; at most 210",
    ),
    "decoded bytes of grey, which is decoded to colour": (
        ImageLimits(decoded_bytes=105),
        a_png_header(7, 5, color=0),
        a_png_header(6, 6, color=0),
        "decodes to 108 bytes; at most 105",
    ),
}


@pytest.mark.parametrize(("limits", "allowed", "too_much", "text"), LIMIT_CASES.values(), ids=LIMIT_CASES)
def test_a_limit_lets_its_own_value_pass_and_refuses_one_more(
    limits: ImageLimits, allowed: bytes, too_much: bytes, text: str
) -> None:
    probe(allowed, limits)

    with pytest.raises(TooLarge, match=text):
        probe(too_much, limits)


def test_the_default_pixel_limit_is_paddlex_s_own() -> None:
    assert probe(a_png_header(17_895, 10_000), LIMITS).width == 17_895
    with pytest.raises(TooLarge, match="at most 178956970"):
        probe(a_png_header(17_896, 10_000), LIMITS)


NOT_IMAGES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "the image has 0 bytes; send one of BMP, GIF, JPEG, PNG, TIFF, WEBP"),
    "text": (b"hello", "the 5 bytes are not an image: they begin with 68 65 6c 6c 6f"),
    "zeros": (bytes(100), "the 100 bytes are not an image"),
    "a PDF": (b"%PDF-1.7\n", "this is a PDF, not an image"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000 images are not supported"),
    "AVIF": (b"\0\0\0\x20ftypavif", "AVIF images are not supported"),
    "HEIC": (b"\0\0\0\x20ftypheic", "HEIC images are not supported"),
    "BigTIFF": (b"II+\0\x08\0\0\0", "BigTIFF images are not supported"),
    "SVG": (b"<svg xmlns='x'/>", "SVG images are not supported"),
    "RIFF that is sound": (b"RIFF\0\0\0\0WAVE", "are not an image"),
    "a width of zero": (a_png_header(0, 5), "PNG image of 0 x 5 pixels has none"),
    "a negative width": (
        b"BM" + bytes(12) + struct.pack("<IiiHH", 40, -7, 5, 1, 24),
        "image of -7 x 5 pixels has none",
    ),
    "a BMP of 3 bits": (b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 7, 5, 1, 3), "a pixel must have 1, 2, 4"),
    "a BMP with a header of 13": (b"BM" + bytes(12) + struct.pack("<IiiHH", 13, 7, 5, 1, 24), "got 13"),
    "a PNG of 3 bits": (a_png_header(7, 5, depth=3), "colour type 2 with 3 bits does not exist"),
    "a PNG that begins with another chunk": (b"\x89PNG\r\n\x1a\n" + a_chunk(b"tEXt", bytes(13)), "must be IHDR"),
    "a PNG with a wrong checksum": (a_png_header(7, 5)[:-1] + b"\0", "the checksum of IHDR does not fit"),
    "a JPEG without a frame": (b"\xff\xd8\xff\xda\0\2" + bytes(9), "its data begins before a frame marker"),
    "a JPEG that ends": (b"\xff\xd8\xff\xe0\0\x10", "no frame marker was found"),
    "a GIF without a frame": (b"GIF89a\7\0\5\0\0\0\0\x3b", "holds no frame"),
    "a GIF of an unknown block": (b"GIF89a\7\0\5\0\0\0\0\x07", "a block must begin with"),
    "a WebP of another chunk": (b"RIFF\0\0\0\0WEBPEXIF\0\0\0\0", "the first chunk must be VP8"),
    "a TIFF without a page": (b"II*\0\0\0\0\0", "it has no page"),
    "a TIFF without a height": (a_tiff([(256, 3, 7)]), "states no width or no height"),
    "a TIFF with two widths": (a_tiff([(256, 3, 7), (256, 3, 70_000), (257, 3, 5)]), "states a size twice"),
    "a TIFF of a text width": (a_tiff([(256, 2, 7), (257, 3, 5)]), "tag 256 must hold unsigned integers"),
    "a TIFF whose pages form a circle": (a_tiff([(256, 3, 7), (257, 3, 5)], next_page=8), "form a circle at byte 8"),
}


@pytest.mark.parametrize(("data", "text"), NOT_IMAGES.values(), ids=NOT_IMAGES)
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, text: str) -> None:
    with pytest.raises(Refused, match=text):
        probe(data, LIMITS)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_cut_off_anywhere_is_refused_or_already_complete(kind: ImageFormat) -> None:
    whole = an_image(kind, 7, 5)
    facts = probe(whole, LIMITS)

    outcomes = [attempt(whole[:length]) for length in range(len(whole))]

    assert all(isinstance(outcome, str) or outcome == facts for outcome in outcomes)
    assert all(isinstance(outcome, str) for outcome in outcomes[:18])


HIDDEN_SIZES = {
    "the second page of a TIFF": a_tiff([(256, 4, 7), (257, 4, 5)], [(256, 4, 60_000), (257, 4, 60_000)]),
    "the tiles of a TIFF": a_tiff([(256, 4, 1), (257, 4, 1), (322, 4, 60_000), (323, 4, 60_000)]),
    "the samples of a TIFF pixel": a_tiff([(256, 4, 9000), (257, 4, 9000), (277, 3, 65_535)]),
    "a GIF frame larger than its screen": b"GIF89a\7\0\5\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\0;",
    "the canvas of a small WebP": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\0" * 2,
    "the frame of a WebP with a small canvas": (
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + b"VP8L\5\0\0\0\x2f\xff\xff\xff\x0f"
    ),
}


@pytest.mark.parametrize("data", HIDDEN_SIZES.values(), ids=HIDDEN_SIZES)
def test_a_size_beside_the_first_one_cannot_hide_from_the_limits(data: bytes) -> None:
    with pytest.raises(TooLarge):
        probe(data, LIMITS)


ENDLESS: dict[str, tuple[ImageFormat, bytes, bytes, bytes]] = {
    "GIF sub-blocks of one byte": ("GIF", b"GIF89a\7\0\5\0\0\0\0!\xfe", b"\1x", b"\0;"),
    "fill bytes of a JPEG": ("JPEG", b"\xff\xd8", b"\xff", b"\xda\0\2"),
    "empty segments of a JPEG": ("JPEG", b"\xff\xd8", b"\xff\xe0\0\2", b"\xff\xda\0\2"),
    "empty chunks of a WebP": ("WEBP", b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10), b"JUNK\0\0\0\0", b""),
}


@pytest.mark.parametrize(("kind", "start", "block", "end"), ENDLESS.values(), ids=ENDLESS)
def test_a_file_of_endless_small_blocks_is_given_up(kind: ImageFormat, start: bytes, block: bytes, end: bytes) -> None:
    most = MAX_STEPS[kind]

    outcome = attempt(start + block * (most // 4) + end)

    assert "blocks before its size is known" not in str(outcome)
    with pytest.raises(TooLarge, match=f"more than {most} blocks"):
        probe(start + block * (most + 1) + end, LIMITS)


def test_pages_of_a_tiff_full_of_tags_are_given_up() -> None:
    page = [(256, 4, 7), (257, 4, 5), *[(300, 4, 1)] * (MAX_STEPS["TIFF"] // 3)]

    assert probe(a_tiff(page, page), LIMITS).frames == 2
    with pytest.raises(TooLarge, match="more than 65536 blocks"):
        probe(a_tiff(page, page, page), LIMITS)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"%PDF-1.7\n", True),
        (b"\xef\xbb\xbf\n%PDF-1.4", True),
        (b" " * 1019 + b"%PDF-", True),
        (b" " * 1020 + b"%PDF-", False),
        (b"", False),
        (an_image("PNG") + b"%PDF-", False),
    ],
    ids=["at the start", "after a byte order mark", "ending at byte 1024", "one byte later", "nothing", "an image"],
)
def test_a_pdf_is_known_by_its_mark_within_1024_bytes(data: bytes, expected: bool) -> None:
    assert looks_like_pdf(data) is expected


def attempt(data: bytes) -> ImageFacts | str:
    """Probe; return the facts or the text of the refusal. Any other error fails the test."""
    try:
        return probe(data, LIMITS)
    except Refused as refusal:
        return str(refusal)


SEEDS = [an_image(kind, 7, 5) for kind in FORMATS] + [an_animation(kind, 2) for kind in ("GIF", "TIFF", "WEBP")]
edits = st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=6), st.integers(0, 6)), max_size=4)


@settings(max_examples=800, derandomize=True)
@given(st.sampled_from(SEEDS), edits, st.none() | st.integers(0, 300))
def test_mutated_images_are_read_or_refused(
    data: bytes, changes: list[tuple[int, bytes, int]], end: int | None
) -> None:
    for start, token, removed in changes:
        data = data[:start] + token + data[start + removed :]

    outcome = attempt(data[:end])

    if isinstance(outcome, ImageFacts):
        assert 1 <= outcome.width * outcome.height <= LIMITS.pixels
    else:
        assert 0 < len(outcome) < 400


@settings(max_examples=300, derandomize=True)
@given(
    st.sampled_from([b"", b"BM", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"RIFF\0\0\0\0WEBP"]),
    st.binary(),
)
def test_arbitrary_bytes_are_read_or_refused(start: bytes, data: bytes) -> None:
    assert attempt(start + data)


@settings(max_examples=300, derandomize=True)
@given(st.sampled_from(SEEDS), edits)
def test_opencv_decodes_no_size_that_the_probe_did_not_check(
    data: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    for start, token, removed in changes:
        data = data[:start] + token + data[start + removed :]
    facts = attempt(data)

    decoded = decode_with_opencv(data) if isinstance(facts, ImageFacts) else None

    if decoded is not None and isinstance(facts, ImageFacts):
        checked = READERS[facts.format](data, LIMITS.frames).sizes
        assert decoded in checked


def decode_with_opencv(data: bytes) -> tuple[int, int] | None:
    """Return width and height of the pixels that the decoder under PaddleX makes of a file, None when it makes none."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if pixels is None else (pixels.shape[1], pixels.shape[0])
