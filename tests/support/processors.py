"""What the processors of this machine lack for some tests; the summary of a run says which were left out, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from hpi_agent.discovery import detect

BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16"})

needs_bfloat16: Final = pytest.mark.skipif(
    BFLOAT16.isdisjoint(detect(Path("/")).cpu.isa_flags),
    reason="these processors do not compute in bfloat16: they have neither avx512_bf16 nor amx_bf16",
)
"""For tests of arithmetic that only some processors have."""
