"""What one inference request may cost before any of its tensors is looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds of one request; each is allowed, one more is refused."""

    tensors: int = 64
    """Input tensors of a request, and requested outputs, each."""
    dimensions: int = 16
    """Dimensions of one tensor."""
    elements: int = 2**28
    """Elements of one tensor."""
    total_bytes: int = 2**28
    """Bytes of all input tensors together, once decoded."""
    name_characters: int = 256
    """Characters of a tensor's name, of a parameter's name and of the request's id."""
    parameters: int = 64
    """Parameters of one object."""
    json_bytes: int = 2**24
    """Bytes of the JSON object, without the binary tensors behind it. While it is decoded it takes 12 to 16 times as
    much memory."""
    json_containers: int = 1_000_000
    """Brackets and braces that the JSON object may open: an empty list is 2 bytes of text and about 60 of memory."""
