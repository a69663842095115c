"""Which model, and where its files come from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import Rule
from hpi_core.api.v1alpha1.references import SecretReference
from hpi_core.api.v1alpha1.scalars import HTTP_URL, MODEL_NAME, Digest

SOURCE: Final = r"^(package|file|pvc|https?|s3|hf|modelscope|oci)://[^\x00-\x20\x7f]+$"


class ModelSource(ApiModel):
    """Which model, and where its files come from."""

    name: str = Field(pattern=MODEL_NAME, min_length=1, max_length=128)
    """PaddleX's name of the model, such as `PP-OCRv6_small_det`. It decides pre- and post-processing."""

    source: Annotated[str, Field(pattern=SOURCE, max_length=2048)] | None = None
    """Where the files come from: a model directory, one ONNX file or an archive. `package://PACKAGE/PATH` lies inside
    an installed Python package, `file:///DIRECTORY` on the machine, `pvc://CLAIM/PATH` in a PersistentVolumeClaim;
    `https://…`, `s3://BUCKET/PREFIX`, `hf://OWNER/NAME[@REVISION][/PATH]`, `modelscope://OWNER/NAME[@REVISION][/PATH]`
    and `oci://REGISTRY/REPOSITORY:TAG` or `…@sha256:…` are fetched. Absent: PaddleX's official model of that name."""

    endpoint: Annotated[str, Field(pattern=HTTP_URL, max_length=512)] | None = None
    """Address of the service behind `s3://`, `hf://` or `modelscope://`, such as `https://minio.example:9000` or a
    mirror of a hub. Absent: the public service."""

    digest: Digest | None = None
    """SHA-256 that the model must have, as `sha256:<64 hex digits>`: of the ONNX file, or for a model in another format
    the digest that `hpi-agent explain` shows. With it a model that is there already is not asked for again. Absent: not
    compared with anything."""

    credentials_secret_ref: SecretReference | None = None
    """Secret with the credentials of the source: `token`, `username` and `password`, `accessKeyId`, `secretAccessKey`
    and `sessionToken`, `ca.crt`, `.dockerconfigjson`. On one machine: a folder of that name below `--credentials`."""

    format: Literal["Auto", "Paddle", "ONNX", "OM"] = "Auto"
    """Which files of the source count. Auto: an ONNX file beside Paddle's is used when it gives the same answers, and
    Paddle's files are converted where there is none. Paddle: an ONNX file is ignored. ONNX: Paddle's files are. OM: the
    offline model of Ascend alone."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.endpoint) || (has(self.source) && self.source.matches('^(s3|hf|modelscope)://'))",
            "endpoint may be set for a source of s3://, hf:// or modelscope:// alone",
            lambda self: (
                self.endpoint is None
                or (self.source is not None and self.source.startswith(("s3://", "hf://", "modelscope://")))
            ),
        ),
        Rule(
            "!has(self.credentialsSecretRef) || (has(self.source) && !self.source.matches('^(package|file|pvc)://'))",
            "credentialsSecretRef may be set for a source that is fetched alone",
            lambda self: (
                self.credentials_secret_ref is None
                or (self.source is not None and not self.source.startswith(("package://", "file://", "pvc://")))
            ),
        ),
    )
