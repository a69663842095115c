"""What the pods of a pipeline mount: nothing of the node's but a runtime, and read-only where they need not write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from hpi_core.api.v1alpha1.model_source import ModelSource
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import AGENT_AUDIENCE, NODE_RUNTIMES, child_name
from hpi_operator.plan.delivery import RUNTIMES_FOLDER
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.quantities import canonical_bytes
from hpi_operator.plan.revisions import Revision
from hpi_operator.plan.runtime_choice import RuntimeRecord

PIPELINE_FOLDER: Final = "/etc/hpi/pipeline"
CREDENTIALS_FOLDER: Final = "/etc/hpi/credentials"
CLAIMS_FOLDER: Final = "/var/lib/hpi/claims"
STORE_FOLDER: Final = "/var/lib/hpi/store"
AGENT_FOLDER: Final = "/var/run/secrets/hpi-agent"
TLS_FOLDER: Final = "/etc/hpi/tls"
TLS_CA_FOLDER: Final = "/etc/hpi/tls-client-ca"
TOKENS_FOLDER: Final = "/etc/hpi/tokens"

TOKEN_SECONDS: Final = 3600
DEFAULT_STORE_BYTES: Final = 20 * 2**30
TEMPORARY_BYTES: Final = 8 * 2**30
"""Most that a pod may leave below /tmp: what it downloads and builds lies in the store."""
READABLE: Final = 0o440


@dataclass(frozen=True)
class Mounted:
    """A volume and where it is mounted."""

    volume: dict[str, Any]
    path: str
    writable: bool = False

    @property
    def mount(self) -> dict[str, Any]:
        """The mount in the container."""
        written: dict[str, Any] = {"name": self.volume["name"], "mountPath": self.path}
        return written if self.writable else {**written, "readOnly": True}


def cache_claim_name(pipeline: HPIPipeline) -> str:
    """Return the name of the claim that keeps engines: the one that is there already, or that the operator makes."""
    return pipeline.spec.cache.claim_name or child_name(pipeline.metadata.name, "cache")


def mounted_by_all(
    pipeline: HPIPipeline, revision: Revision, runtime: RuntimeRecord, settings: Settings
) -> Iterator[Mounted]:
    """Yield what every pod of a pipeline mounts, whether it serves or builds ahead."""
    cache = pipeline.spec.cache
    if runtime.variant is not None:
        yield mounted_runtimes(settings)
    yield Mounted(
        {"name": "pipeline", "configMap": {"name": revision.config_map, "defaultMode": READABLE}}, PIPELINE_FOLDER
    )
    yield Mounted(_scratch("tmp", TEMPORARY_BYTES), "/tmp", writable=True)  # noqa: S108
    yield agent_token()
    if cache.medium == "PersistentVolumeClaim":
        claim = {"claimName": cache_claim_name(pipeline)}
        yield Mounted({"name": "store", "persistentVolumeClaim": claim}, STORE_FOLDER, writable=True)
    else:
        yield Mounted(_scratch("store", cache.size_bytes or DEFAULT_STORE_BYTES), STORE_FOLDER, writable=True)
    for number, name in enumerate(claims_of(pipeline)):
        volume = {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": name, "readOnly": True}}
        yield Mounted(volume, f"{CLAIMS_FOLDER}/{name}")
    for number, name in enumerate(credentials_of(pipeline)):
        yield Mounted(_secret(f"credentials-{number}", name), f"{CREDENTIALS_FOLDER}/{name}")


def agent_token() -> Mounted:
    """Return the one token of a pod: for its node's agent, and the API server refuses it."""
    token = {"audience": AGENT_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    projected = {"defaultMode": READABLE, "sources": [{"serviceAccountToken": token}]}
    return Mounted({"name": "agent-token", "projected": projected}, AGENT_FOLDER)


def mounted_runtimes(settings: Settings) -> Mounted:
    """Return the environments that the node's agent has installed: read-only, and a folder of the node."""
    # Directory: a kubelet must not make it, or the pod would find an empty one where no agent runs.
    path = {"path": f"{settings.node_folder}/{NODE_RUNTIMES}", "type": "Directory"}
    return Mounted({"name": "runtimes", "hostPath": path}, RUNTIMES_FOLDER)


def mounted_to_serve(pipeline: HPIPipeline) -> Iterator[Mounted]:
    """Yield what a pod mounts besides to serve: certificates and tokens of callers."""
    serving = pipeline.spec.serving
    if serving.tls is not None:
        yield Mounted(_secret("tls", serving.tls.secret_ref.name), TLS_FOLDER)
        if serving.tls.client_ca_secret_ref is not None:
            yield Mounted(_secret("tls-client-ca", serving.tls.client_ca_secret_ref.name), TLS_CA_FOLDER)
    if serving.auth.tokens_secret_ref is not None:
        yield Mounted(_secret("tokens", serving.auth.tokens_secret_ref.name), TOKENS_FOLDER)


def claims_of(pipeline: HPIPipeline) -> tuple[str, ...]:
    """Return the claims that models come from, sorted."""
    sources = [urlsplit(model.source) for model in models_of(pipeline) if model.source is not None]
    return tuple(sorted({source.netloc for source in sources if source.scheme == "pvc"}))


def credentials_of(pipeline: HPIPipeline) -> tuple[str, ...]:
    """Return the Secrets with credentials of model sources, sorted."""
    references = (model.credentials_secret_ref for model in models_of(pipeline))
    return tuple(sorted({one.name for one in references if one is not None}))


def models_of(pipeline: HPIPipeline) -> tuple[ModelSource, ...]:
    """Return the models that the spec names."""
    alone = () if pipeline.spec.module is None else (pipeline.spec.module.model,)
    return (*alone, *(module.model for module in pipeline.spec.modules if module.model is not None))


def _scratch(name: str, size_bytes: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"sizeLimit": canonical_bytes(size_bytes)}}


def _secret(name: str, secret: str) -> dict[str, Any]:
    return {"name": name, "secret": {"secretName": secret, "defaultMode": READABLE}}
