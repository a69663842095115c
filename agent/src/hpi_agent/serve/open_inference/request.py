"""Decode an inference request: the JSON object, and the binary tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from numpy.typing import NDArray

from hpi_agent.serve.open_inference.fields import read_list, read_object, read_text, show, suggest
from hpi_agent.serve.open_inference.limits import Limits
from hpi_agent.serve.open_inference.parameters import Parameter, read_flag, read_known
from hpi_agent.serve.open_inference.tensors import Declaration, read_binary, read_declaration, read_json
from hpi_core.errors import Refused, TooLarge

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""HTTP header with the length of the JSON object, when binary tensors follow it. Unit: bytes."""


@dataclass(frozen=True)
class RequestedOutput:
    """One output tensor to send back, and whether as raw bytes."""

    name: str
    binary: bool


@dataclass(frozen=True, eq=False)
class InferRequest:
    """One inference request, decoded and checked for itself; the model has not been asked yet."""

    id: str | None
    """To be repeated in the response; None when the client gave none."""
    inputs: dict[str, NDArray[Any]]
    """Tensors by name, in the order of the request, with the declared dtype and shape. They may be read-only, share
    the memory of the body and start at any address."""
    outputs: tuple[RequestedOutput, ...]
    """What the client asked for, in its order; empty stands for every output."""
    binary_output: bool
    """Whether outputs that the client did not list go back as raw bytes."""
    ignored: tuple[str, ...]
    """Paths of the parameters that have no meaning here, for the log."""

    def choose_outputs(self, declared: Sequence[str]) -> tuple[RequestedOutput, ...]:
        """Return the outputs to send back, out of those the model declares.

        Raises:
            Refused: The client asked for an output that the model does not have.
        """
        if not self.outputs:
            return tuple(RequestedOutput(name, self.binary_output) for name in declared)
        for place, output in enumerate(self.outputs):
            if output.name not in declared:
                hint = suggest(output.name, declared)
                raise Refused(
                    f"outputs[{place}].name {show(output.name)} is no output of this model; "
                    f"it has {', '.join(declared)}{hint}"
                )
        return self.outputs


def parse_header_length(text: str | None) -> int | None:
    """Return the length that the header `Inference-Header-Content-Length` states, None when it is not there.

    Raises:
        Refused: The text is not made of 1 to 18 ASCII digits.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused(f"{HEADER_LENGTH} must be a number of bytes in decimal digits, got {show(text)}")
    return int(text)


def decode_request(body: bytes, header_length: int | None, limits: Limits) -> InferRequest:
    """Return the inference request that a body holds; binary tensors are not copied.

    Args:
        body: The whole HTTP body.
        header_length: Length of the JSON object at its start; None when the body is JSON alone. Unit: bytes.
        limits: What the request may cost.

    Raises:
        Refused: The body is not a request of this protocol, or asks for what is not supported.
        TooLarge: A limit is exceeded.
    """
    json_bytes = check_header_length(len(body), header_length, limits)
    document = parse_json(body, json_bytes, header_length is None, limits)
    fields = read_object(document, "request", ("id", "parameters", "inputs", "outputs"))
    request_id = read_text(fields["id"], "id", limits.name_characters) if fields.get("id", "") != "" else None
    parameters, ignored = read_known(fields.get("parameters"), "the request", "parameters", limits)
    inputs, more = decode_inputs(fields.get("inputs"), body, json_bytes, limits)
    ignored += more
    binary = read_flag(parameters, "binary_data_output", "parameters") or False
    outputs, more = decode_outputs(fields.get("outputs"), binary, limits)
    return InferRequest(request_id, inputs, outputs, binary, (*ignored, *more))


def check_header_length(body_bytes: int, header_length: int | None, limits: Limits) -> int:
    """Return the length of the JSON object. Unit: bytes.

    Raises:
        Refused: The stated length is not within the body.
        TooLarge: The JSON object is larger than allowed.
    """
    length = body_bytes if header_length is None else header_length
    if not 1 <= length <= body_bytes:
        raise Refused(
            f"{HEADER_LENGTH} must be 1 to the body's {body_bytes} bytes, got {length}"
            if header_length is not None
            else "the body is empty; it must begin with an inference request as a JSON object"
        )
    if length > limits.json_bytes:
        raise TooLarge(
            f"the JSON object has {length} bytes; at most {limits.json_bytes} are allowed; send tensors as binary data"
        )
    return length


def parse_json(body: bytes, length: int, is_whole: bool, limits: Limits) -> Any:
    """Return the JSON value in the first `length` bytes.

    Raises:
        Refused: The bytes are not JSON, or nested deeper than the parser allows (1,024).
        TooLarge: It opens more arrays and objects than allowed.
    """
    containers = body.count(b"[", 0, length) + body.count(b"{", 0, length)
    if containers > limits.json_containers:
        raise TooLarge(
            f"the JSON object opens {containers} arrays and objects; at most {limits.json_containers} are allowed; "
            "send tensors flat, or as binary data"
        )
    try:
        return orjson.loads(memoryview(body)[:length])
    except orjson.JSONDecodeError as error:
        hint = f"; when binary tensors follow the JSON object, its length belongs into the header {HEADER_LENGTH}"
        raise Refused(f"the request is not JSON: {error.msg}, at byte {error.pos}{hint if is_whole else ''}") from None


def decode_inputs(value: Any, body: bytes, offset: int, limits: Limits) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the input tensors by name, and the paths of parameters without a meaning here.

    Raises:
        Refused: An input is malformed, a name comes twice, or bytes behind the JSON object are missing or left over.
        TooLarge: A limit is exceeded.
    """
    items = read_list(value, "inputs", limits.tensors) if value is not None else []
    if not items:
        raise Refused("inputs must list at least one tensor")
    tensors: dict[str, NDArray[Any]] = {}
    ignored: list[str] = []
    total_bytes = 0
    for place, item in enumerate(items):
        path = f"inputs[{place}]"
        fields = read_object(item, path, ("name", "shape", "datatype", "parameters", "data"))
        declared = read_declaration(fields, path, limits)
        if declared.name in tensors:
            raise Refused(f"{path}.name {show(declared.name)} comes twice; every input has a name of its own")
        total_bytes += declared.tensor_bytes
        if total_bytes > limits.total_bytes:
            raise TooLarge(
                f"inputs up to {path} need {total_bytes} bytes; at most {limits.total_bytes} are allowed together"
            )
        parameters, more = read_known(fields.get("parameters"), "an input", f"{path}.parameters", limits)
        ignored += more
        size = check_source(fields, parameters, declared, path)
        if size is None:
            tensors[declared.name] = read_json(declared, fields["data"], f"{path}.data")
            continue
        check_room(size, len(body) - offset, path)
        tensors[declared.name] = read_binary(declared, body, offset, path)
        offset += size
    if offset != len(body):
        raise Refused(f"{len(body) - offset} bytes follow the last tensor; every byte must belong to an input")
    return tensors, ignored


def check_source(
    fields: dict[str, Any], parameters: dict[str, Parameter], declared: Declaration, path: str
) -> int | None:
    """Return the size of the binary tensor, None when the elements are in the JSON object. Unit: bytes.

    Raises:
        Refused: Both sources are given or neither, or the size is not that of the shape.
    """
    size = parameters.get("binary_data_size")
    if (size is None) == ("data" not in fields):
        seen = "neither" if size is None else "both"
        raise Refused(f"{path} must have either data or parameters.binary_data_size, got {seen}")
    if size is None:
        return None
    if type(size) is not int or size != declared.tensor_bytes:
        raise Refused(
            f"{path}.parameters.binary_data_size must be {declared.tensor_bytes} (shape {list(declared.shape)} of "
            f"{declared.datatype}), got {show(size)}"
        )
    return size


def check_room(size: int, room: int, path: str) -> None:
    """Refuse a binary tensor that runs past the end of the body."""
    if size > room:
        raise Refused(
            f"{path}.parameters.binary_data_size is {size}, but {room} bytes are left in the body; "
            f"send the tensors behind the JSON object, whose length belongs into the header {HEADER_LENGTH}"
        )


def decode_outputs(value: Any, binary_output: bool, limits: Limits) -> tuple[tuple[RequestedOutput, ...], list[str]]:
    """Return the requested outputs, and the paths of parameters without a meaning here.

    Raises:
        Refused: An output is malformed, or a name comes twice.
        TooLarge: A limit is exceeded.
    """
    outputs: dict[str, RequestedOutput] = {}
    ignored: list[str] = []
    for place, item in enumerate(read_list(value, "outputs", limits.tensors) if value is not None else []):
        path = f"outputs[{place}]"
        fields = read_object(item, path, ("name", "parameters"))
        name = read_text(fields.get("name"), f"{path}.name", limits.name_characters)
        if name in outputs:
            raise Refused(f"{path}.name {show(name)} comes twice; ask for an output once")
        parameters, more = read_known(fields.get("parameters"), "a requested output", f"{path}.parameters", limits)
        ignored += more
        binary = read_flag(parameters, "binary_data", f"{path}.parameters")
        outputs[name] = RequestedOutput(name, binary_output if binary is None else binary)
    return tuple(outputs.values()), ignored
