"""Encode an inference response: the JSON object, and the binary tensors behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from hpi_agent.serve.open_inference.request import HEADER_LENGTH, RequestedOutput
from hpi_core.errors import Bug, Refused
from hpi_core.formats import OPEN_INFERENCE_DTYPES

DATATYPES: Final[Mapping[str, str]] = {str(dtype): word for dtype, word in OPEN_INFERENCE_DTYPES.items()}
"""Numpy's name of a type to the protocol's word."""


class EncodedResponse(NamedTuple):
    """The headers and the body of a response; the body is the buffers one after another."""

    headers: dict[str, str]
    buffers: tuple[bytes | memoryview, ...]
    """The JSON object, then one buffer per binary tensor. Those share the memory of the outputs."""


def encode_response(
    model_name: str,
    model_version: str | None,
    request_id: str | None,
    outputs: Mapping[str, NDArray[Any]],
    wanted: Iterable[RequestedOutput],
) -> EncodedResponse:
    """Return the response that carries the wanted outputs, in the wanted order.

    Args:
        model_name: Name of the model that answered.
        model_version: Its version; None where models have none.
        request_id: The `id` of the request; None when it had none.
        outputs: What the model answered, by name. Arrays must not change until the buffers are sent.
        wanted: Outputs to send, as `InferRequest.choose_outputs` returned them.

    Raises:
        Refused: An output that was asked for as JSON holds NaN or infinity, or is FP16.
        Bug: A wanted output is not there, or has a type that the protocol does not know.
    """
    tensors: list[dict[str, Any]] = []
    buffers: list[bytes | memoryview] = []
    for output in wanted:
        if output.name not in outputs:
            raise Bug(f"output {output.name!r} is wanted but the model answered {list(outputs)}")
        array = outputs[output.name]
        datatype = datatype_of(output.name, array)
        tensor: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": list(array.shape)}
        if output.binary:
            buffers.append(raw_bytes(array))
            tensor["parameters"] = {"binary_data_size": array.nbytes}
        else:
            tensor["data"] = json_numbers(output.name, array)
        tensors.append(tensor)
    head: dict[str, Any] = {"model_name": model_name, "outputs": tensors}
    if model_version is not None:
        head["model_version"] = model_version
    if request_id is not None:
        head["id"] = request_id
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return EncodedResponse(headers_of(len(text), buffers), (text, *buffers))


def headers_of(json_bytes: int, buffers: list[bytes | memoryview]) -> dict[str, str]:
    """Return the headers of a response; the length of the JSON object is named only when tensors follow it."""
    total = json_bytes + sum(len(one) for one in buffers)
    if not buffers:
        return {"Content-Type": "application/json", "Content-Length": str(total)}
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(total),
        HEADER_LENGTH: str(json_bytes),
    }


def datatype_of(name: str, array: NDArray[Any]) -> str:
    """Return the protocol's word for the type of an array."""
    dtype = array.dtype.name
    word = DATATYPES.get(dtype)
    if word is None:
        raise Bug(f"output {name!r} has dtype {dtype}, which the protocol does not know")
    return word


def raw_bytes(array: NDArray[Any]) -> memoryview:
    """Return the elements, row-major and little-endian; without a copy when they already lie like that."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def json_numbers(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the elements, row-major and flat, ready for the JSON encoder, which would write NaN as null."""
    advice = "ask for it as binary data (outputs[].parameters.binary_data: true)"
    if array.dtype.name == "float16":
        raise Refused(f"output {name!r} is FP16, which has no JSON form in this protocol; {advice}")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)
    if native.dtype.kind == "f" and not np.isfinite(native).all():
        where = int(np.argmin(np.isfinite(native)))
        raise Refused(f"output {name!r} holds {native[where]} at element {where}, which JSON cannot express; {advice}")
    return native
