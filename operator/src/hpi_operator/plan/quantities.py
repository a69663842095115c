"""Quantities of Kubernetes in the one spelling that an API server stores: `1000m` is `1`, `1024Mi` is `1Gi`.

An object that states another spelling than the one that is stored would differ from it for ever, and be written for
ever. Ours because the `kubernetes` package only parses quantities, and decisions import no client.

Source:
    kubernetes/apimachinery 0.34, `pkg/api/resource`: `ParseQuantity` and `Quantity.CanonicalizeBytes`;
    kubernetes 1.34, `pkg/apis/core/v1/defaults.go`: `SetDefaults_ResourceList` rounds up to thousandths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final

_QUANTITY: Final = re.compile(r"^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:([eE][-+]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i))?$")
_DECIMAL: Final[Mapping[str, int]] = {
    **{"n": -9, "u": -6, "m": -3, "": 0},
    **{"k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18},
}
_BINARY: Final[Mapping[str, int]] = {"": 0, "Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_LARGEST: Final = 2**63 - 1
"""Larger amounts with a binary suffix are cut to it, as the API server does; others are not."""
_THOUSAND: Final = 1000


# A few spellings come again and again, at every pass of every pipeline.
@lru_cache(maxsize=1024)
def canonical(quantity: str) -> str:
    """Return a quantity of a list of resources as the API server stores it.

    Args:
        quantity: A number that is not negative, with a decimal or binary suffix or none: `0.5`, `1000m`, `1536Mi`.

    Raises:
        ValueError: It is no such number.
    """
    amount, suffix = _parsed(quantity)
    is_binary = bool(suffix) and suffix in _BINARY
    if is_binary:
        amount = min(amount, Fraction(_LARGEST))
    # Thousandths are the finest that a list of resources keeps.
    amount = Fraction(math.ceil(amount * _THOUSAND), _THOUSAND)
    if is_binary and amount >= 1024 and amount.denominator == 1:
        return _binary(amount.numerator)
    return _decimal(amount)


def canonical_bytes(size: int) -> str:
    """Return a number of bytes as the API server stores it, in binary or decimal units, whichever is shorter."""
    decimal = canonical(str(size))
    return min(_binary(size), decimal, key=len) if size >= 1024 and size % 1024 == 0 else decimal


def whole_units(quantity: str) -> int:
    """Return the whole units of a quantity, rounded down: 1 of `1500m`, 1,073,741,824 of `1Gi`.

    Raises:
        ValueError: It is no such number.
    """
    amount, _ = _parsed(quantity)
    return math.floor(amount)


def _parsed(quantity: str) -> tuple[Fraction, str]:
    match = _QUANTITY.match(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is no quantity; write it like 500m, 2 or 4Gi")
    number, exponent, suffix = Fraction(match[1]), match[2], match[3] or ""
    if exponent is not None:
        return number * Fraction(10) ** int(exponent[1:]), ""
    if suffix in _DECIMAL:
        return number * Fraction(10) ** _DECIMAL[suffix], suffix
    return number * 1024 ** _BINARY[suffix], suffix


def _decimal(amount: Fraction) -> str:
    if amount == 0:
        return "0"
    for suffix, exponent in reversed(list(_DECIMAL.items())):
        # Thousandths are the finest that are left.
        count = amount / Fraction(10) ** exponent
        if count.denominator == 1:
            return f"{count.numerator}{suffix}"
    raise AssertionError(f"{amount} is no whole number of thousandths")


def _binary(amount: int) -> str:
    for suffix, exponent in reversed(list(_BINARY.items())):
        if amount % 1024**exponent == 0:
            return f"{amount // 1024**exponent}{suffix}"
    raise AssertionError(f"{amount} is no whole number")
