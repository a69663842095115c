"""Names of artifacts in registries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.models.sources.oci_reference import read_reference
from hpi_core.errors import Refused

DIGEST = "sha256:" + "ab" * 32

parts = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)


@pytest.mark.parametrize(
    ("source", "registry", "repository", "tag", "digest"),
    [
        ("oci://ghcr.io/team/det:1.0", "https://ghcr.io/", "team/det", "1.0", None),
        (f"oci://ghcr.io/team/det@{DIGEST}", "https://ghcr.io/", "team/det", None, DIGEST),
        (f"oci://ghcr.io/team/det:1.0@{DIGEST}", "https://ghcr.io/", "team/det", "1.0", DIGEST),
        ("oci://Registry.example:5000/a/b/c:v", "https://registry.example:5000/", "a/b/c", "v", None),
        ("oci://registry.example:443/a:v", "https://registry.example/", "a", "v", None),
        ("oci://[fd00::1]:5000/a:v", "https://[fd00::1]:5000/", "a", "v", None),
        ("oci://docker.io/det:1", "https://registry-1.docker.io/", "library/det", "1", None),
        ("oci://docker.io/team/det:1", "https://registry-1.docker.io/", "team/det", "1", None),
    ],
)
def test_a_source_names_registry_repository_and_artifact(
    source: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    found = read_reference(source)

    assert (found.registry.text, found.repository, found.tag, found.digest) == (registry, repository, tag, digest)


@given(
    st.lists(parts, min_size=1, max_size=4).map("/".join),
    st.from_regex(r"\w[\w.-]{0,20}", fullmatch=True, alphabet=st.characters(max_codepoint=127)),
)
def test_what_is_written_is_what_is_read(repository: str, tag: str) -> None:
    found = read_reference(f"oci://ghcr.io/{repository}:{tag}")

    assert (found.repository, found.wanted) == (repository, tag)


def test_a_digest_counts_where_a_tag_stands_beside_it() -> None:
    found = read_reference(f"oci://ghcr.io/team/det:1.0@{DIGEST}")

    assert found.route("manifests", found.wanted).text == f"https://ghcr.io/v2/team/det/manifests/{DIGEST}"


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("localhost:5000", "http"),
        ("127.0.0.1:5000", "http"),
        ("127.9.9.9", "http"),
        ("[::1]:5000", "http"),
        ("localhost.example", "https"),
        ("128.0.0.1:5000", "https"),
        ("registry:5000", "https"),
    ],
)
def test_only_a_registry_on_this_machine_is_spoken_to_without_tls(host: str, scheme: str) -> None:
    assert read_reference(f"oci://{host}/det:1").registry.scheme == scheme


@pytest.mark.parametrize("source", ["oci://ghcr.io/team/det", "oci://localhost:5000/det"])
def test_no_tag_is_assumed(source: str) -> None:
    with pytest.raises(Refused, match="no tag is assumed here, not even latest"):
        read_reference(source)


@pytest.mark.parametrize(
    "source",
    [
        "oci://ghcr.io",
        "oci:///det:1",
        "oci://a@b/det:1",
        "oci://a?b/det:1",
        "oci://ghcr.io/det:",
        "oci://ghcr.io/d@" + "a@b",
        "oci://ghcr.io/" + "a" * 512 + ":1",
    ],
)
def test_a_source_of_another_shape_is_answered_with_the_right_one(source: str) -> None:
    with pytest.raises(Refused, match="must be oci://REGISTRY"):
        read_reference(source)


@pytest.mark.parametrize(
    "repository", ["Team/det", "team//det", "../det", "team/", "det?x=1", "det%2e", "-det", "det\n"]
)
def test_a_repository_that_no_registry_has_is_refused(repository: str) -> None:
    with pytest.raises(Refused, match="a repository is lower-case letters"):
        read_reference(f"oci://ghcr.io/{repository}:1")


@pytest.mark.parametrize("tag", ["-1", "a" * 129, "a b", "a?b", "%31"])
def test_a_tag_that_no_registry_has_is_refused(tag: str) -> None:
    with pytest.raises(Refused, match="a tag is up to 128"):
        read_reference(f"oci://ghcr.io/det:{tag}")


@pytest.mark.parametrize("digest", ["sha256:ab", "sha512:" + "ab" * 64, DIGEST.upper(), DIGEST + "\n", "main"])
def test_a_digest_of_another_kind_is_refused(digest: str) -> None:
    with pytest.raises(Refused, match="a digest is sha256: and 64 hexadecimal digits"):
        read_reference(f"oci://ghcr.io/det@{digest}")


@pytest.mark.parametrize("host", ["ghcr.io:0", "ghcr.io:99999", "ghcr_.io:x", "exa mple", "exämple.org"])
def test_a_registry_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(Refused):
        read_reference(f"oci://{host}/det:1")
