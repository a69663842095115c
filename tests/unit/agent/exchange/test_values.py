"""The values of the wire: what is written is read again, what is not one is refused, and bounds hold on both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.blob_answer import OutOfRange, span_of
from hpi_agent.exchange.listing import MAX_FILES, EntryListing, listing_of
from hpi_agent.exchange.plain_json import MAX_DEPTH, plain
from hpi_agent.exchange.reports import (
    MAX_WORKLOAD_ENGINES,
    Asked,
    DecisionReport,
    FailureReport,
    Granted,
    Held,
    SelfTestReport,
    WorkloadReport,
    read,
    resolution_name,
    write,
)
from hpi_agent.exchange.tenants import Tenant
from hpi_agent.exchange.token_file import MAX_TOKEN_BYTES
from hpi_agent.store.manifest import Seal
from hpi_core.api.base import ApiModel
from hpi_core.errors import HpiError, InvalidManifest, Refused

digests = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__)
labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
file_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True).filter(
    lambda name: name not in ("manifest.json", "manifest.paths.json")
)
sizes = st.integers(0, 2**40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
gates = st.fixed_dictionaries(
    {"level": st.sampled_from(["Auto", "Numeric", "Task"]), "minimumSamples": st.integers(1, 10_000)},
    optional={"tolerancePartsPerMillion": st.integers(1, 1_000_000)},
)
asked = st.fixed_dictionaries(
    {
        "key": digests,
        "modelName": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,60}", fullmatch=True),
        "modelDigest": digests,
        "modelFormat": st.sampled_from(["Paddle", "ONNX", "OM"]),
        "accuracy": gates,
    },
    optional={
        "request": st.dictionaries(st.text(max_size=6), json_values, max_size=4),
        "fallback": st.sampled_from(["Allowed", "Forbidden"]),
        "driverMatch": st.sampled_from(["Exact", "Verified", "Major"]),
        "deviceMemoryBytes": sizes,
    },
)
workloads = st.fixed_dictionaries(
    {
        "pipeline": labels,
        "revision": st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True),
        "engineActive": st.sampled_from(["Measured", "Provisional", "Fallback", "Building"]),
        "message": st.text(max_size=160),
        "engines": st.lists(asked, max_size=4, unique_by=str),
    }
)
listings = st.fixed_dictionaries(
    {
        "about": st.dictionaries(st.text(max_size=6), json_values, max_size=3),
        "files": st.dictionaries(
            file_names, digests.map(lambda one: {"digest": one, "bytes": int(one[7:15], 16)}), min_size=1, max_size=8
        ),
    }
)
values = st.one_of(
    asked.map(lambda one: (Asked, one)),
    workloads.map(lambda one: (WorkloadReport, one)),
    listings.map(lambda one: (EntryListing, one)),
    st.builds(lambda token, seconds: (Granted, {"token": token, "seconds": seconds}), sizes, st.integers(1, 300)),
    st.builds(
        lambda node, here, seconds: (Held, {"holder": node, "here": here, "seconds": seconds}),
        labels,
        st.booleans(),
        st.integers(1, 300),
    ),
    st.builds(lambda token, text: (FailureReport, {"token": token, "message": text}), sizes, st.text(max_size=1_024)),
)


@given(values)
def test_what_is_written_is_read_again(value: tuple[type[ApiModel], dict[str, Any]]) -> None:
    kind, document = value
    first = kind.model_validate(document)

    again = read(kind, write(first))

    assert again == first
    assert write(again) == write(first)


@given(values, st.text(min_size=1, max_size=8), json_values)
def test_a_field_that_is_not_known_is_refused(
    value: tuple[type[ApiModel], dict[str, Any]], name: str, more: Any
) -> None:
    kind, document = value

    with pytest.raises(InvalidManifest):
        read(kind, json.dumps({**document, f"?{name}": more}).encode())


@given(st.binary(max_size=64) | json_values.map(lambda one: json.dumps(one).encode()))
def test_no_bytes_do_anything_but_be_read_or_be_refused(body: bytes) -> None:
    for kind in (Asked, WorkloadReport, SelfTestReport, DecisionReport, FailureReport, Granted, Held, EntryListing):
        try:
            read(kind, body)
        except InvalidManifest as error:
            found = len(error.problems)
        else:
            found = 1
        assert 1 <= found <= 8


@given(digests, digests)
def test_two_keys_share_a_name_only_where_they_share_40_digits(one: str, other: str) -> None:
    assert (resolution_name(one) == resolution_name(other)) == (one[7:47] == other[7:47])


tenants = st.none() | labels


@given(tenants, st.sampled_from(["engines", "converted", "models"]), digests, tenants, digests)
def test_tenant_kind_and_key_together_name_an_entry(
    one: str | None, kind: str, key: str, other: str | None, other_key: str
) -> None:
    here, there = Tenant(one).key(kind, key), Tenant(other).key(kind, other_key)

    assert (here == there) == ((one, key) == (other, other_key))
    assert here != Tenant(one).key("decisions", key)
    assert here != key


@given(st.dictionaries(file_names, st.builds(Seal, digests, sizes), min_size=1, max_size=8))
def test_the_content_digest_knows_names_and_bytes_and_no_order(files: dict[str, Seal]) -> None:
    listing = listing_of({}, files)
    turned = listing_of({"other": "words"}, dict(reversed(files.items())))
    first = next(iter(files))
    renamed = listing_of({}, {f"{first}x" if name == first else name: seal for name, seal in files.items()})

    assert listing is not None
    assert turned is not None
    assert renamed is not None
    assert listing.content_digest == turned.content_digest
    assert (renamed.content_digest == listing.content_digest) == (f"{first}x" in files and len(files) == 1)


@pytest.mark.parametrize("count", [1, MAX_FILES, 0, MAX_FILES + 1])
def test_an_entry_has_one_to_64_files(count: int) -> None:
    files = {f"file-{number}": Seal("sha256:" + f"{number:064x}", number) for number in range(count)}

    assert (listing_of({}, files) is not None) == (1 <= count <= MAX_FILES)


@pytest.mark.parametrize("count", [MAX_WORKLOAD_ENGINES, MAX_WORKLOAD_ENGINES + 1])
def test_a_workload_names_32_resolutions_and_no_more(count: int) -> None:
    one = {
        "modelName": "m",
        "modelDigest": "sha256:" + "0" * 64,
        "modelFormat": "ONNX",
        "accuracy": {"level": "Auto", "minimumSamples": 1},
    }
    engines = [{**one, "key": f"sha256:{number:064x}"} for number in range(count)]
    body = json.dumps({"pipeline": "p", "revision": "r", "engineActive": "Measured", "engines": engines}).encode()

    try:
        read(WorkloadReport, body)
        is_read = True
    except InvalidManifest:
        is_read = False

    assert is_read == (count == MAX_WORKLOAD_ENGINES)


def test_what_was_chosen_is_one_of_the_candidates() -> None:
    candidate = {"name": "openvino", "backend": "openvino", "precision": "float32", "verdict": "Chosen"}
    report = {"token": 1, "candidates": [candidate], "quality": "Measured", "buildSeconds": 1}

    read(DecisionReport, json.dumps({**report, "chosen": "openvino"}).encode())
    with pytest.raises(InvalidManifest, match="chosen must be the name of one of the candidates"):
        read(DecisionReport, json.dumps({**report, "chosen": "onnxruntime"}).encode())


@given(st.integers(1, 1_000), st.integers(0, 1_200), st.none() | st.integers(0, 1_200))
def test_a_range_lies_inside_the_blob_and_is_what_was_asked_for(size: int, begin: int, last: int | None) -> None:
    header = f"bytes={begin}-{'' if last is None else last}"

    try:
        span = span_of(header, size)
    except OutOfRange:
        assert begin >= size
        return

    assert 0 <= span.begin < span.end <= size
    if span.is_partial:
        assert span.begin == begin
        assert span.end == min(size, size if last is None else last + 1)
    else:
        assert last is not None
        assert last < begin


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://10.0.0.7:8470", "10.0.0.7", 8470),
        ("http://10.0.0.7:8470/", "10.0.0.7", 8470),
        ("http://[fd00::7]:8470", "fd00::7", 8470),
        # What $(HOST_IP) of an IPv6 node makes of the operator's text.
        ("http://fd00::7:8470", "fd00::7", 8470),
    ],
)
def test_the_address_of_an_agent_is_read(url: str, host: str, port: int) -> None:
    address = AgentAddress.read({"HPI_AGENT": url, "HPI_AGENT_TOKEN": "/token"})

    assert address == AgentAddress(host, port, Path("/token"))
    assert AgentAddress.read({"HPI_AGENT": str(address), "HPI_AGENT_TOKEN": "/token"}) == address


@pytest.mark.parametrize(
    "url", ["https://10.0.0.7:8470", "10.0.0.7:8470", "http://10.0.0.7", "http://a:0", "http://a:65536", "http://a:1/x"]
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="must be http://ADDRESS:PORT"):
        AgentAddress.read({"HPI_AGENT": url, "HPI_AGENT_TOKEN": "/token"})


def test_without_an_address_there_is_no_agent_and_half_of_one_is_refused() -> None:
    assert AgentAddress.read({}) is None
    assert AgentAddress.read({"HPI_AGENT": "", "HPI_AGENT_TOKEN": "/token"}) is None
    with pytest.raises(Refused, match="HPI_AGENT_TOKEN is not"):
        AgentAddress.read({"HPI_AGENT": "http://10.0.0.7:8470"})


@pytest.mark.parametrize(
    ("content", "fits"),
    [
        (b"abc\n", True),
        (b"x" * MAX_TOKEN_BYTES, True),
        (b"x" * (MAX_TOKEN_BYTES + 1), False),
        (b"", False),
        (b"\n", False),
        (b"a\nb", False),
        (b"\xff", False),
        (None, False),
    ],
    ids=["a token", "the longest", "too long", "empty", "blank", "two lines", "no text", "no file"],
)
def test_a_token_is_one_line_of_at_most_16_kib(tmp_path: Path, content: bytes | None, fits: bool) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    address = AgentAddress("127.0.0.1", 1, file)

    try:
        found = address.token()
    except HpiError:
        found = ""

    assert bool(found) == fits


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_json_is_nested_so_deep_and_no_deeper(depth: int) -> None:
    value: dict[str, Any] = {"a": 1}
    for _ in range(depth - 1):
        value = {"a": value}

    try:
        plain(value)
        fits = True
    except ValueError:
        fits = False

    assert fits == (depth < MAX_DEPTH)
