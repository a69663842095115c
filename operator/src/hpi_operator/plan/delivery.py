"""How a runtime comes into a pod: as the pod's image, or as a folder of the node that the node's agent has filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hpi_core.names import ENV_LOCK_DIGEST, ENV_RUNTIMES, ENV_VARIANT

STORE: Final = "Store"
WITHOUT_HOST_PATHS: Final = frozenset({"baseline", "restricted"})
"""Levels of Pod Security that allow no host paths (Kubernetes, "Pod Security Standards")."""
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
"""Label of a namespace: the level that it enforces. Without it the cluster's default holds, which nobody tells."""
RUNTIMES_FOLDER: Final = "/var/lib/hpi/runtimes"


def forbids_host_paths(pod_security: str) -> bool:
    """Return whether a level of Pod Security lets no pod mount a folder of its node."""
    return pod_security in WITHOUT_HOST_PATHS


def forbidden(namespace: str, pod_security: str) -> str:
    """Return for people that pods of a namespace cannot have a runtime that is delivered to a folder of the node."""
    return (
        f"its delivery is Store, so its pods mount a folder of the node, and {namespace} enforces Pod Security "
        f"{pod_security}, which forbids it: label it {ENFORCE}=privileged, or use a runtime with delivery Image"
    )


def delivered_environment(variant: str, lock_digest: str) -> Iterator[dict[str, Any]]:
    """Yield the variables by which a pod finds its environment in the folder."""
    yield {"name": ENV_RUNTIMES, "value": RUNTIMES_FOLDER}
    yield {"name": ENV_VARIANT, "value": variant}
    yield {"name": ENV_LOCK_DIGEST, "value": lock_digest}
