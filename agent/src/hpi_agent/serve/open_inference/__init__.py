"""The Open Inference Protocol v2 over REST as a pure codec: bytes in, values out, and back.

Implemented: inference requests and responses, model and server metadata, the error body, and the extension
`binary_tensor_data` (tensors as raw little-endian bytes behind the JSON object, whose length travels in the header
`Inference-Header-Content-Length`). Refused by name: BYTES, BF16, the shared-memory and the classification extensions.

An optional field that is null counts as absent. A key that the protocol does not define is refused, except inside
`parameters`, which the protocol leaves open: unknown parameters are accepted and listed in `InferRequest.ignored`.

Source:
    https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, and
    https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

from hpi_agent.serve.open_inference.limits import Limits
from hpi_agent.serve.open_inference.metadata import encode_error, encode_metadata, encode_server_metadata
from hpi_agent.serve.open_inference.request import (
    HEADER_LENGTH,
    InferRequest,
    RequestedOutput,
    decode_request,
    parse_header_length,
)
from hpi_agent.serve.open_inference.response import EncodedResponse, encode_response

__all__ = [
    "HEADER_LENGTH",
    "EncodedResponse",
    "InferRequest",
    "Limits",
    "RequestedOutput",
    "decode_request",
    "encode_error",
    "encode_metadata",
    "encode_response",
    "encode_server_metadata",
    "parse_header_length",
]
