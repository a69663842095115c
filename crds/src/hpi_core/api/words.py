"""What is allowed, in words: for each pattern of the kinds, and for each type and bound that pydantic checks."""

from __future__ import annotations

from typing import Final

from hpi_core.api.base import DNS_LABEL, DNS_SUBDOMAIN
from hpi_core.api.v1alpha1 import scalars
from hpi_core.digest import PATTERN as DIGEST_PATTERN

PATTERNS_IN_WORDS: Final = {
    DNS_LABEL: "must be 1 to 63 lower-case letters, digits and '-', with a letter or a digit at both ends",
    DNS_SUBDOMAIN: "must be lower-case letters, digits, '-' and '.', with a letter or a digit at both ends of each part",
    DIGEST_PATTERN.pattern: "must be 'sha256:' and 64 lower-case hexadecimal digits",
    scalars.MODEL_NAME: "must be 1 to 128 letters, digits, '.', '_', '+' and '-', with a letter or a digit first",
    scalars.MODULE_NAME: "must be 1 to 64 lower-case letters, digits and '_', such as 'text_detection'",
    scalars.MODULE_PATH: "must be like 'SubModules.TextDetection' or"
    " 'SubPipelines.DocPreprocessor.SubModules.DocUnwarping'",
    scalars.DEVICE: "must be a device such as 'cpu', 'gpu:0' or 'gpu:0,1'",
}
"""What each pattern of the kinds allows, for people."""

TYPES_IN_WORDS: Final = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
"""What each type and each bound allows; names in braces are pydantic's."""
