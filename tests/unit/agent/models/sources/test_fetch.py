"""The door of all sources: schemes, what a site says, and what is not imported for models of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpi_agent.models.sources.limits import DEFAULT_TOTAL_BYTES
from hpi_agent.models.sources.settings import DEFAULT_CLAIMS, SourceSettings
from hpi_core.errors import Refused, SourceFailed
from support.fetching import Fetcher, weights
from support.http_site import Site

LOCAL = """
import json, sys
from pathlib import Path
from hpi_agent.models.assemble import assemble
from hpi_agent.store.directory import Store
model = assemble("det", sys.argv[1], None, store=Store(Path(sys.argv[2])), models=Path("/"), read_metadata=None)
print(json.dumps(sorted(sys.modules)))
"""


def test_a_local_model_needs_no_client_of_any_server(tmp_path: Path) -> None:
    (tmp_path / "inference.onnx").write_bytes(b"weights")
    (tmp_path / "inference.yml").write_text("Global: {model_name: det}\n")

    done = subprocess.run(
        [sys.executable, "-c", LOCAL, f"file://{tmp_path}", str(tmp_path / "store")], capture_output=True, check=True
    )

    imported = set(json.loads(done.stdout))
    heavy = {"urllib3", "botocore", "requests", "http.client", "ssl", "email.utils", "tarfile", "xml.etree.ElementTree"}
    assert heavy & imported == set()
    assert {name for name in imported if name.endswith((".http_client", ".origins", ".download"))} == set()


@pytest.mark.parametrize("source", ["ftp://a/b", "", "/models/det", "gs://bucket/x", "javascript:alert(1)"])
def test_an_unknown_scheme_is_answered_with_the_known_ones(source: str, fetcher: Fetcher) -> None:
    with pytest.raises(Refused, match="there are package, file, pvc, http, https, s3"):
        fetcher.fetch(source)


def test_credentials_that_are_not_there_stop_before_anybody_is_asked(site: Site, fetcher: Fetcher) -> None:
    site.put("/det.onnx", weights())

    with pytest.raises(SourceFailed, match="credentials 'hub': no folder of credentials is known here"):
        fetcher.fetch(f"{site.url}/det.onnx", credentials="hub")

    assert site.asked == []


def test_a_site_says_nothing_unless_it_does() -> None:
    settings = SourceSettings.read({})

    assert (settings.credentials, settings.claims) == (None, DEFAULT_CLAIMS)
    assert settings.limits.total_bytes == DEFAULT_TOTAL_BYTES == 8 * 2**30
    assert settings.endpoints == {}


def test_a_site_speaks_by_its_environment() -> None:
    environment = {"HPI_CREDENTIALS": "/secrets", "HPI_CLAIMS": "/claims", "HPI_SOURCE_MAX_BYTES": "2GiB"}

    settings = SourceSettings.read(environment)

    assert (settings.credentials, settings.claims) == (Path("/secrets"), Path("/claims"))
    assert settings.limits.total_bytes == 2 * 2**30


def test_an_argument_outweighs_the_environment() -> None:
    settings = SourceSettings.read({"HPI_CREDENTIALS": "/a", "HPI_CLAIMS": "/b"}, Path("/c"), Path("/d"))

    assert (settings.credentials, settings.claims) == (Path("/c"), Path("/d"))


def test_a_size_that_is_none_is_named_with_its_variable() -> None:
    with pytest.raises(Refused, match=r"^\$HPI_SOURCE_MAX_BYTES: a size is a number"):
        SourceSettings.read({"HPI_SOURCE_MAX_BYTES": "much"})
