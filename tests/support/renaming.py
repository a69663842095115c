"""Rename one argument of a function of a double, as a later release of a library might."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any
from unittest.mock import patch


@contextmanager
def renamed_argument(owner: Any, function: str, name: str) -> Iterator[None]:
    """Have a function take one of its arguments under another name, and do the same with it otherwise.

    Args:
        owner: The class or module that has the function.
        function: Its name.
        name: The argument.
    """
    original = vars(owner)[function]
    assert isinstance(original, FunctionType)
    code = original.__code__
    assert name in code.co_varnames, f"{function} has no argument {name!r}"
    names = tuple(f"{one}_renamed" if one == name else one for one in code.co_varnames)
    changed = FunctionType(
        code.replace(co_varnames=names),
        original.__globals__,
        original.__name__,
        original.__defaults__,
        original.__closure__,
    )
    changed.__kwdefaults__ = {
        (f"{one}_renamed" if one == name else one): default for one, default in (original.__kwdefaults__ or {}).items()
    }
    with patch.object(owner, function, changed):
        yield
