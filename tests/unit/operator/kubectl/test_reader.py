"""Reads with the rights of whoever asks: errors in words, unknown names with the nearest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.errors import HpiError, Refused, Stop
from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.errors import Away, Forbidden, NotThere, Unknown
from hpi_operator.kube.resources import HPI_NODES, PIPELINES
from hpi_operator.kube.transport import Transport
from hpi_operator.kubectl.reader import Reader, nearest


@pytest.fixture
def reader() -> Reader:
    return Reader(Api(Transport(lambda: None), Bucket(1.0, 1)), "https://api:6443")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (NotThere("404"), Refused, "does not serve hpipipelines: its CustomResourceDefinitions are missing"),
        (Forbidden("403", "list hpipipelines.hpi.paddlex.io"), Stop, "you may not list hpipipelines.hpi.paddlex.io in"),
        (Forbidden("403"), Stop, "you may not read hpipipelines in namespace shop"),
        (Unknown("401"), Unknown, "does not know who you are: log in again"),
        (Away("connection refused"), Away, "does not answer, or not now: connection refused; see that the cluster is"),
    ],
    ids=["no kinds", "no right", "a right without a name", "no login", "away"],
)
def test_an_error_says_what_to_do_and_keeps_its_class(
    error: HpiError, kind: type[HpiError], words: str, reader: Reader
) -> None:
    said = reader.in_words(error, PIPELINES, "shop")

    assert isinstance(said, kind)
    assert words in str(said)


def test_a_right_on_a_kind_without_namespaces_names_none(reader: Reader) -> None:
    assert "you may not read hpinodes: ask for" in str(reader.in_words(Forbidden("403"), HPI_NODES))


def test_the_nearest_names_are_told_else_how_many_there_are() -> None:
    assert nearest("ocr-1", ["table", "ocr", "ocr-2"]) == "the nearest are ocr-2, ocr"
    assert nearest("zzz", ["a", "b", "c", "d", "e"]) == "there are a, b, c and 2 more"
    assert nearest("zzz", ["a"]) == "there is a"
    assert nearest("zzz", []) == "there is none at all"


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=20), max_size=30))
def test_what_is_told_of_names_stays_short(name: str, known: list[str]) -> None:
    assert len(nearest(name, known)) < 120
