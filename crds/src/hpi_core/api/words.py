"""What is allowed, in words: for each pattern of the kinds, and for each type and bound that pydantic checks."""

from __future__ import annotations

from typing import Final

from hpi_core.api.base import DNS_LABEL, DNS_SUBDOMAIN
from hpi_core.api.v1alpha1 import condition, model_source, pipeline_status, pod_template, references, scalars
from hpi_core.digest import PATTERN as DIGEST_PATTERN

PATTERNS_IN_WORDS: Final = {
    DNS_LABEL: "must be 1 to 63 lower-case letters, digits and '-', with a letter or a digit at both ends",
    DNS_SUBDOMAIN: "must be lower-case letters, digits and '-' in parts with '.' between, each with a letter or a digit"
    " at both ends",
    DIGEST_PATTERN.pattern: "must be 'sha256:' and 64 lower-case hexadecimal digits",
    scalars.MODEL_NAME: "must be 1 to 128 letters, digits, '.', '_', '+' and '-', with a letter or a digit first",
    scalars.MODULE_NAME: "must be 1 to 64 lower-case letters, digits and '_', such as 'text_detection'",
    scalars.MODULE_PATH: "must be like 'SubModules.TextDetection' or"
    " 'SubPipelines.DocPreprocessor.SubModules.DocUnwarping'",
    scalars.DEVICE: "must be a device such as 'cpu', 'gpu:0' or 'gpu:0,1'",
    scalars.RESOURCE_NAME: "must be an extended resource such as 'nvidia.com/gpu'",
    scalars.LABEL_KEY: "must be like 'pool' or 'example.com/pool'",
    scalars.LABEL_VALUE: "must be letters, digits, '-', '_' and '.', with a letter or a digit at both ends, or empty",
    scalars.VERSION: "must be a version such as '550.54.15' or '8.0.RC3'",
    scalars.VERSION_CONSTRAINT: "must be comparisons of versions such as '>=1.2,<2'",
    scalars.COMPUTE_CAPABILITY: "must be a compute capability such as '8.6'",
    scalars.CHIP: "must be a SoC version such as 'Ascend310P3'",
    scalars.VARIANT: "must be 1 to 40 lower-case letters, digits and '-', with a letter or a digit at both ends",
    scalars.IMAGE_BY_DIGEST: "must be an image by digest such as 'registry.example/hpi-cpu@sha256:' and 64 lower-case"
    " hexadecimal digits",
    scalars.PYTHON_VERSION: "must be a version of Python such as '3.11'",
    scalars.HOST_NAME: "must be a host such as 'images.example' or '*.images.example'",
    scalars.HTTP_URL: "must be an address such as 'https://minio.example:9000', without user, query and fragment",
    scalars.ABSOLUTE_PATH: "must be a path that begins with '/'",
    scalars.URL_PATH: "must be the path of a URL that begins with '/', of letters, digits and the characters '._~/-'",
    scalars.QUANTITY: "must be a quantity such as '500m', '2' or '4Gi'",
    scalars.HEADER_NAME: "must be 1 to 64 letters, digits and '-', with a letter or a digit first",
    scalars.UID: "must be a UID such as '0b6c8e3e-5d5e-4d0f-9a35-6f0d5c3a2b11'",
    scalars.REVISION: "must be 1 to 16 lower-case letters and digits",
    scalars.CRON: "must be the five fields of cron, such as '0 2 * * 6'",
    scalars.TIME_ZONE: "must be a time zone such as 'UTC' or 'Europe/Berlin'",
    condition.CONDITION_TYPE: "must be letters with a capital first, such as 'EnginesReady'",
    condition.CONDITION_STATUS: "must be 'True', 'False' or 'Unknown'",
    condition.CONDITION_REASON: "must be letters and digits with a capital first, such as 'NoMatchingNode'",
    model_source.SOURCE: "must be an address such as 'https://…', 's3://BUCKET/PREFIX', 'hf://OWNER/NAME',"
    " 'modelscope://OWNER/NAME', 'oci://REGISTRY/REPOSITORY:TAG', 'pvc://CLAIM/PATH', 'file:///DIRECTORY' or"
    " 'package://PACKAGE/PATH', without spaces",
    pipeline_status.PATH_OR_MODULE: "must be like 'SubModules.TextDetection' or 'text_detection'",
    pod_template.CONTAINER_RESOURCE: "must be 'cpu', 'memory', 'ephemeral-storage' or like 'nvidia.com/gpu'",
    references.CONFIG_MAP_KEY: "must be letters, digits, '-', '_' and '.'",
    scalars.PACKAGE_NAME: "must be the name of a package such as 'onnxruntime-gpu', in lower case",
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
"""What each type and each bound allows; the names in braces are pydantic's."""
