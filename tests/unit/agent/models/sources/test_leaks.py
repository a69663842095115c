"""No secret is ever written, logged, raised, told or shown, whatever goes wrong."""

from __future__ import annotations

import base64
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import read_credentials
from hpi_agent.models.sources.http_client import HttpClient
from hpi_agent.models.sources.origins import Opening, _http
from hpi_agent.models.sources.patience import Timeouts
from hpi_agent.models.sources.settings import SourceRequest
from hpi_core.errors import HpiError
from support.certificates import Authority
from support.fetching import Fetcher, weights
from support.http_site import (
    Site,
    change_to,
    cut_after,
    drip_headers,
    lie_about_length,
    redirect,
    say_status,
    serving,
)

TOKEN = "t0ken-that-nobody-may-see"  # noqa: S105
PASSWORD = "passw0rd-that-nobody-may-see"  # noqa: S105
SIGNATURE = "s1gnature-that-nobody-may-see"
SECRETS = [TOKEN, PASSWORD, SIGNATURE, base64.b64encode(f"me:{PASSWORD}".encode()).decode()]

PATH = "/models/det.onnx"
SIGNED = f"{PATH}?X-Amz-Signature={SIGNATURE}&X-Amz-Expires=60"
WEIGHTS = weights(50_000)

Scenario = Callable[[Site], None]


def put(site: Site) -> None:
    site.put(PATH, WEIGHTS)


def fails(*faults: object, always: bool = False) -> Scenario:
    def prepare(site: Site) -> None:
        put(site)
        if always:
            site.always[PATH] = faults[0]  # type: ignore[assignment]
        else:
            site.fail(PATH, *faults)  # type: ignore[arg-type]

    return prepare


def echo(handler: object) -> bool:
    """Answer with what was asked, secrets and all, as some servers do in their errors."""
    headers = str(handler.headers)  # type: ignore[attr-defined]
    handler.answer(403, f"{handler.path} {headers}".encode(), {"X-Echo": "1"})  # type: ignore[attr-defined]
    return True


def no_http(handler: object) -> bool:
    words = f"HTTP/9.9 {handler.path}\r\n\r\n"  # type: ignore[attr-defined]
    handler.wfile.write(words.encode())  # type: ignore[attr-defined]
    handler.hang_up()  # type: ignore[attr-defined]
    return True


SCENARIOS: dict[str, Scenario] = {
    "it comes": put,
    "it is cut": fails(cut_after(20_000)),
    "it is cut for ever": fails(*[cut_after(0)] * 9),
    "its length is a lie": fails(*[lie_about_length(9)] * 9),
    "it changes": fails(cut_after(20_000), change_to(weights(50_000, seed=3))),
    "it is not there": lambda site: None,
    "the server refuses": fails(say_status(401), always=True),
    "the server repeats what it was asked": fails(echo, always=True),
    "the server is busy": fails(say_status(429, {"Retry-After": "9999"}), always=True),
    "the server fails": fails(say_status(500), always=True),
    "the server hangs up": fails(no_http, always=True),
    "a header never ends": fails(drip_headers, always=True),
    "it redirects in a circle": fails(redirect(SIGNED), always=True),
    "it redirects to another host": fails(redirect(f"http://models.example/?sig={SIGNATURE}"), always=True),
    "it redirects with a password": fails(redirect(f"https://me:{PASSWORD}@a/"), always=True),
    "it redirects to no address": fails(redirect(f"file:///x?{SIGNATURE}"), always=True),
    "it has a strange coding": lambda site: site.put(PATH, WEIGHTS, coding="br"),
}


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """What all loggers write, down to the least important."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """A Secret with a token, one with user and password."""
    for name, keys in {"token": {"token": TOKEN}, "basic": {"username": "me", "password": PASSWORD}}.items():
        (tmp_path / "secrets" / name).mkdir(parents=True)
        for key, value in keys.items():
            (tmp_path / "secrets" / name / key).write_text(value + "\n")
    return tmp_path / "secrets"


def texts_of(error: BaseException | None) -> Iterator[str]:
    """Yield everything that an exception and those behind it say, suppressed ones too."""
    while error is not None:
        yield repr(error)
        yield "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__


def texts_in(folder: Path) -> Iterator[str]:
    """Yield name and content of everything in a folder."""
    for path in folder.rglob("*"):
        yield str(path)
        if path.is_file():
            yield path.read_bytes().decode("latin-1")


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("secret", ["token", "basic"])
def test_no_secret_is_written_logged_raised_or_told(
    name: str, secret: str, site: Site, fetcher: Fetcher, credentials: Path, everything_logged: io.StringIO
) -> None:
    SCENARIOS[name](site)
    fetcher.settings = {"credentials": credentials, "timeouts": Timeouts(5.0, 0.2, 5.0)}
    said: list[str] = []

    for _ in range(2):
        try:
            fetched = fetcher.fetch(site.url + SIGNED, credentials=secret)
            said += [repr(fetched), str(fetcher.files(fetched).keys())]
        except HpiError as error:
            said += texts_of(error)
    said += [everything_logged.getvalue(), repr(fetcher.progress), *texts_in(fetcher.root)]

    assert [one for one in SECRETS if any(one in text for text in said)] == []
    assert any("authorization" in one.headers for one in site.asked)


def test_a_certificate_that_is_not_trusted_tells_no_secret(
    tmp_path: Path, fetcher: Fetcher, credentials: Path, everything_logged: io.StringIO
) -> None:
    fetcher.settings = {"credentials": credentials}
    with serving(tls=Authority.make().server(tmp_path, "127.0.0.1")) as site, pytest.raises(HpiError) as caught:
        fetcher.fetch(site.url + SIGNED, credentials="token")

    said = [*texts_of(caught.value), everything_logged.getvalue()]
    assert [one for one in SECRETS if any(one in text for text in said)] == []


def test_what_holds_secrets_shows_none(credentials: Path) -> None:
    request = SourceRequest(f"https://models.example{SIGNED}", credentials="token")
    opening = Opening(request, HttpClient(), read_credentials(credentials, "token"))
    origin = _http(opening)

    shown = " ".join(repr(one) for one in (request, opening, origin, opening.authorization(), origin.address))

    assert [one for one in SECRETS if one in shown] == []
