"""What `from cuda import cudart` finds while the layout of cuda-python before 12.8 is presented."""

from __future__ import annotations

from doubles.cuda_calls import *  # noqa: F403
