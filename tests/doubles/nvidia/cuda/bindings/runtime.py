"""What `from cuda.bindings import runtime` finds while the double of CUDA is presented."""

from __future__ import annotations

from doubles.cuda_calls import *  # noqa: F403
