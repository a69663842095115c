"""Manifests with mistakes: our reader refuses them in the words that are written down beside them."""

from __future__ import annotations

import json

import pytest

from hpi_core.api.manifest import read_manifest
from hpi_core.errors import InvalidManifest
from support.refusals import REFUSALS, Refusal


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_our_reader_says_what_is_wrong(refusal: Refusal) -> None:
    with pytest.raises(InvalidManifest) as refused:
        read_manifest(json.dumps(refusal.document), "test.yaml")

    assert refused.value.problems == refusal.reader
