"""The values of the wire: what a pod tells its node's agent, and what the agent answers; strict, and each bounded."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from hpi_agent.exchange.plain_json import plain
from hpi_core.api.base import ApiModel, JsonObject
from hpi_core.api.rules import ListMap, ListSet, Opaque
from hpi_core.api.v1alpha1.engine import (
    MAX_CANDIDATES,
    MAX_VERIFIED_DRIVERS,
    NAME_DIGITS,
    Artifact,
    CandidateStatus,
    Gate,
)
from hpi_core.api.v1alpha1.node import MAX_MODELS_OF_A_WORKLOAD, ServedModel
from hpi_core.api.v1alpha1.pipeline_status import RevisionName
from hpi_core.api.v1alpha1.scalars import (
    MODEL_NAME,
    Bytes,
    Digest,
    LabelName,
    ObjectName,
    Version,
    Word,
)
from hpi_core.digest import PREFIX
from hpi_core.errors import InvalidManifest
from hpi_core.formats import BACKENDS, Backend

MAX_JSON_BYTES: Final = 256 * 1024
"""Largest JSON body in either direction."""

MAX_WORKLOAD_ENGINES: Final = 32
MAX_NAMED_ENGINES: Final = 64

Active = Literal["Measured", "Provisional", "Fallback", "Building"]
"""How the engines of a pod came to be: the reason of `EngineActive`."""

RESOLUTION_NAME: Final = re.compile(rf"e-[0-9a-f]{{{NAME_DIGITS}}}")
"""`e-` and 40 digits: names of HPIEngines and Leases look the same."""


def resolution_name(key: str) -> str:
    """Return the name of a resolution on the wire: `e-` and 40 digits of the key of its decision (`sha256:<hex>`)."""
    return f"e-{key.removeprefix(PREFIX)[:NAME_DIGITS]}"


class Asked(ApiModel):
    """What has to be decided, as far as a pod knows it: an HPIEngine's spec without hardware, runtime and tenant.

    The agent finds the HPIEngine by it where the operator has made one; else the name of the resolution stands alone.
    """

    key: Digest
    """Key of the decision in the pod's store; its digits are the name of the resolution."""

    model_name: Annotated[str, Field(pattern=MODEL_NAME, max_length=128)]
    """PaddleX's name of the model."""

    model_digest: Digest
    """Digest of the model's files, as a manifest states it."""

    model_format: Literal["Paddle", "ONNX", "OM"]
    """Format that the digest is of."""

    request: Annotated[JsonObject, Opaque(), AfterValidator(plain)] = Field(default_factory=dict)
    """PaddleX's effective `hpi_config` of the model."""

    fallback: Literal["Allowed", "Forbidden"] = "Allowed"
    """As in the pipeline's `build`."""

    driver_match: Literal["Exact", "Verified", "Major"] = "Exact"
    """As in the pipeline's `build`."""

    mode: Literal["Latency", "Throughput"] = "Latency"
    """What is measured."""

    accuracy: Gate
    """What is asked of a candidate's answers."""

    device_memory_bytes: Bytes | None = None
    """Most memory of the accelerator. Unit: bytes."""

    engines: Annotated[tuple[LabelName, ...], Field(strict=False, max_length=MAX_NAMED_ENGINES), ListSet()] = ()
    """HPIEngines that the operator has named to the pod; one of them may be this one. An agent may list none."""


class Granted(ApiModel):
    """The answer to whoever may build now."""

    token: Annotated[int, Field(ge=0, le=2**53)]
    """Told with every later word on this build: one that lost the Lease meanwhile is refused by it (fencing)."""

    seconds: Annotated[int, Field(ge=1, le=300)]
    """How long the right lasts without a renewal. Unit: seconds."""

    chosen_before: Digest | None = None
    """Key of the engine that a pod chose last while others kept its cores busy: who chooses it again has decided."""


class Held(ApiModel):
    """The answer to whoever must not build now: somebody else does."""

    holder: ObjectName
    """Node whose agent has the Lease."""

    here: bool
    """Whether a pod of this very node builds: its result comes into the node's cache."""

    seconds: Annotated[int, Field(ge=1, le=300)]
    """When to ask again. Unit: seconds."""


class Token(ApiModel):
    """What `renew` and `release` say."""

    token: Annotated[int, Field(ge=0, le=2**53)]
    """From `Granted`."""


class DecisionReport(ApiModel):
    """What was decided, as HPIEngine.status words it."""

    token: Annotated[int, Field(ge=0, le=2**53)]
    """From `Granted`."""

    candidates: Annotated[
        tuple[CandidateStatus, ...], Field(strict=False, max_length=MAX_CANDIDATES), ListMap(("name",))
    ] = ()
    """All ways to run the model."""

    chosen: Annotated[str, Field(min_length=1, max_length=40)]
    """Name of the candidate that serves."""

    quality: Literal["Measured", "Provisional"]
    """A provisional choice is never shared; its key is told to whoever builds next."""

    reference: Annotated[str, Field(max_length=160)] = ""
    """Who gave the answers that count."""

    artifact: Artifact | None = None
    """The built form of the chosen engine. Absent: it loads from the model's own files."""

    build_seconds: Annotated[int, Field(ge=0, le=604_800)]
    """How long the build took. Unit: seconds."""

    verified_on_drivers: Annotated[
        tuple[Version, ...], Field(strict=False, max_length=MAX_VERIFIED_DRIVERS), ListSet()
    ] = ()
    """Drivers under which the engine gave the right answers."""

    @model_validator(mode="after")
    def _check_chosen(self) -> DecisionReport:
        if all(one.name != self.chosen for one in self.candidates):
            raise ValueError("chosen must be the name of one of the candidates")
        return self

    @property
    def chosen_key(self) -> str | None:
        """Key of the engine that serves."""
        return next(one.key for one in self.candidates if one.name == self.chosen)


class FailureReport(ApiModel):
    """Why a build came to nothing."""

    token: Annotated[int, Field(ge=0, le=2**53)]
    """From `Granted`."""

    reason: Word = "BuildFailed"
    """One word for programs."""

    message: Annotated[str, Field(max_length=1_024)] = ""
    """What happened, for people."""


class WorkloadReport(ApiModel):
    """What a pod serves, and on what."""

    pipeline: LabelName
    """Name of the HPIPipeline."""

    revision: RevisionName
    """Its revision."""

    engine_active: Active
    """The least of its models: one that builds makes the pod `Building`."""

    message: Annotated[str, Field(max_length=160)] = ""
    """Why it is not on measured engines."""

    engines: Annotated[tuple[Asked, ...], Field(strict=False, max_length=MAX_WORKLOAD_ENGINES), ListMap(("key",))] = ()
    """The resolutions that it uses."""

    backends: Annotated[tuple[Backend, ...], Field(strict=False, max_length=len(BACKENDS)), ListSet()] = ()
    """Backends that its models are served on now."""

    models: Annotated[
        tuple[ServedModel, ...], Field(strict=False, max_length=MAX_MODELS_OF_A_WORKLOAD), ListMap(("name",))
    ] = ()
    """Its models, and what each is served on now."""


class SelfTestReport(ApiModel):
    """How a self-test ended."""

    runtime: ObjectName
    """Name of the HPIRuntime."""

    lock_digest: Digest
    """Digest of the list of its wheels."""

    passed: bool
    """Whether every backend that the variant claims worked."""

    backends: Annotated[tuple[Backend, ...], Field(strict=False, max_length=8), ListSet()] = ()
    """Backends that it has seen work."""

    message: Annotated[str, Field(max_length=256)] = ""
    """What failed, for people."""


Value = TypeVar("Value", bound=ApiModel)


def read(kind: type[Value], body: bytes) -> Value:
    """Return the value of a JSON body.

    Raises:
        InvalidManifest: It is not JSON, or not such a value; every problem is named.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:8]]
        raise InvalidManifest(kind.__name__, problems) from error


def write(value: ApiModel) -> bytes:
    """Return the JSON body of a value; what is absent is left out."""
    return value.model_dump_json(by_alias=True, exclude_none=True).encode()


def to_json(value: ApiModel) -> dict[str, Any]:
    """Return the JSON form of a value; what is absent is left out."""
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
