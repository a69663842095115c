"""The scalar types that several kinds share: one name, one pattern and one bound each."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hpi_core.api.base import DNS_LABEL, DNS_SUBDOMAIN
from hpi_core.digest import PATTERN as DIGEST_PATTERN

MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$"
MODULE_NAME: Final = r"^[a-z0-9_]{1,64}$"
MODULE_PATH: Final = r"^(SubPipelines\.[A-Za-z0-9_]+\.)*SubModules\.[A-Za-z0-9_]+$"
DEVICE: Final = r"^[a-z_]+(:[0-9]+(,[0-9]+)*)?$"
RESOURCE_NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
VERSION: Final = r"^[0-9]+(\.[0-9]+){0,4}([-+.]?[A-Za-z][0-9A-Za-z.+-]*)?$"
VERSION_CONSTRAINT: Final = r"^(==|!=|>=|<=|>|<|~=)[0-9][0-9A-Za-z.+-]*(,(==|!=|>=|<=|>|<|~=)[0-9][0-9A-Za-z.+-]*)*$"
COMPUTE_CAPABILITY: Final = r"^[0-9]{1,2}\.[0-9]$"
CHIP: Final = r"^Ascend[0-9A-Za-z_-]{1,40}$"
VARIANT: Final = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
IMAGE_BY_DIGEST: Final = r"^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$"
PACKAGE_NAME: Final = r"^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$"
PYTHON_VERSION: Final = r"^3\.[0-9]{1,2}$"
HOST_NAME: Final = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
# Not \s, which means the white space of all scripts here and that of ASCII to an API server.
HTTP_URL: Final = r"^https?://[^\x00-\x20/?#@\x7f]+(/[^\x00-\x20?#\x7f]*)?$"
ABSOLUTE_PATH: Final = r"^/[^\x00-\x1f\x7f]*$"
URL_PATH: Final = r"^/[A-Za-z0-9._~/-]*$"
QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
HEADER_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
UID: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
REVISION: Final = r"^[a-z0-9]{1,16}$"
CRON: Final = r"^([0-9*/,-]+ ){4}[0-9A-Za-z*/,-]+$"
TIME_ZONE: Final = r"^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$"
HUNDRED_YEARS_SECONDS: Final = 3_155_760_000
MAX_BYTES: Final = 2**50
"""A pebibyte: beyond it a number is a mistake."""

Digest = Annotated[str, Field(pattern=DIGEST_PATTERN.pattern, max_length=71)]
"""`sha256:` and 64 lower-case hexadecimal digits."""

ObjectName = Annotated[str, Field(pattern=DNS_SUBDOMAIN, min_length=1, max_length=253)]
"""Name of a Kubernetes object."""

LabelName = Annotated[str, Field(pattern=DNS_LABEL, min_length=1, max_length=63)]
"""Name of a Kubernetes object that is a DNS label."""

Word = Annotated[str, Field(min_length=1, max_length=64)]
"""An open word of a status, such as a state or a reason; later releases may add more."""

Sentence = Annotated[str, Field(max_length=256)]
"""A sentence for people in a status."""

Version = Annotated[str, Field(pattern=VERSION, max_length=64)]
"""A version, such as `550.54.15` or `8.0.RC3`."""

ComputeCapability = Annotated[str, Field(pattern=COMPUTE_CAPABILITY, max_length=5)]
"""NVIDIA's compute capability, such as `8.6`."""

Chip = Annotated[str, Field(pattern=CHIP, max_length=48)]
"""Ascend's SoC version as ATC takes it, such as `Ascend310P3`."""

Backend = Annotated[str, Field(pattern=VARIANT, max_length=40)]
"""An inference backend of a status or a runtime, such as `onnxruntime`; later releases may add more."""

Count = Annotated[int, Field(ge=0, le=1_000_000)]
"""How many of something a status has seen."""

Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
"""A size. Unit: bytes."""

Microseconds = Annotated[int, Field(ge=0, le=3_600_000_000)]
"""A time of at most an hour. Unit: microseconds."""

Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""A moment, RFC 3339 in UTC."""
