"""Have a test of the conformance suite run on the ways that compute its graph; its conftest leaves out the rest."""

from __future__ import annotations

import pytest

from models.graphs import TinyModel


def on_ways_that_take(model: TinyModel, *, of_any_shape: bool = False) -> pytest.MarkDecorator:
    """Have a test run for one graph, on the ways that have to compute it.

    Args:
        model: The graph: the test's argument `model`.
        of_any_shape: Whether the test feeds shapes of its own, which ways of one fixed shape cannot take; then the
            argument is `free_model`.
    """
    return pytest.mark.parametrize("free_model" if of_any_shape else "model", [model], ids=[model.name])
