"""The `parameters` of a request, an input or a requested output: open to any name, closed to what would be ignored.

A parameter of the binary extension in the wrong place is a mistake, and one of an extension that is not supported would
change the answer: both are refused. Every other name is accepted and reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpi_agent.serve.open_inference.fields import show
from hpi_agent.serve.open_inference.limits import Limits
from hpi_core.errors import Refused, TooLarge

Parameter = str | int | float | bool

PLACES: Final = {
    "binary_data_size": "an input",
    "binary_data": "a requested output",
    "binary_data_output": "the request",
}
"""Where each parameter of the binary extension belongs."""


def read_known(value: Any, place: str, path: str, limits: Limits) -> tuple[dict[str, Parameter], list[str]]:
    """Return the parameters of an object, and the paths of those that have no meaning here.

    Raises:
        Refused: A parameter belongs to an extension that is not supported, or to another kind of object.
        TooLarge: A limit is exceeded.
    """
    parameters = read_parameters(value, path, (limits.parameters, limits.name_characters))
    for key in parameters:
        if key.startswith("shared_memory_"):
            raise Refused(f"{named(path, key)}: shared memory is not supported; send the tensor in the body")
        if key == "classification":
            raise Refused(f"{named(path, key)}: classification is not supported; ask for the output and sort it")
        if PLACES.get(key, place) != place:
            raise Refused(f"{path}.{key} is a parameter of {PLACES[key]}, not of {place}")
    return parameters, [named(path, key) for key in parameters if key not in PLACES]


def read_flag(parameters: Mapping[str, Parameter], key: str, path: str) -> bool | None:
    """Return a parameter that is true or false, or None when it is not there.

    Raises:
        Refused: The parameter is neither true nor false.
    """
    value = parameters.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise Refused(f"{path}.{key} must be true or false, got {show(value)}")


def read_parameters(value: Any, path: str, limits: tuple[int, int]) -> dict[str, Parameter]:
    """Return the parameters of an object: names to strings, numbers or booleans.

    Args:
        value: The object; None stands for no parameters.
        path: Where it was found.
        limits: Most parameters, and most characters of a name.

    Raises:
        Refused: It is no object, or a value is an array or an object.
        TooLarge: There are too many parameters, or a name is too long.
    """
    if value is None:
        return {}
    if type(value) is not dict:
        raise Refused(f"{path} must be an object, got {show(value)}")
    most, characters = limits
    if len(value) > most:
        raise TooLarge(f"{path} has {len(value)} parameters; at most {most} are allowed")
    for key, one in value.items():
        if len(key) > characters:
            raise TooLarge(f"{path} has a name of {len(key)} characters; at most {characters} are allowed")
        if isinstance(one, dict | list):
            raise Refused(f"{named(path, key)} must be a string, a number or a boolean, got {show(one)}")
    return {key: one for key, one in value.items() if one is not None}


def named(path: str, key: str) -> str:
    """Return the path of a parameter; a name that is no plain word is quoted, so that it cannot forge a line of log."""
    return f"{path}.{key}" if key.isidentifier() and key.isascii() else f"{path}[{show(key)}]"
