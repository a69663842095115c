"""Pages as files that a client sends."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from support.pages import Page


def png_of(page: Page) -> bytes:
    """Return a page as PNG, without loss."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(page.image[:, :, ::-1])).save(file, "PNG")
    return file.getvalue()
