"""Labels, annotations, field managers, and the names of everything that belongs to a pipeline."""

from __future__ import annotations

import hashlib
from typing import Final

from hpi_core.api.base import GROUP
from hpi_core.digest import digest_of_json

FIELD_MANAGER: Final = "hpi-operator"
"""Owner of every field that the operator states by server-side apply."""

AGENT_FIELD_MANAGER: Final = "hpi-agent"
"""Owner of every field of a status that a node agent states; one name for all, so that another agent may go on."""

OPERATOR_REPORTER: Final = f"{GROUP}/hpi-operator"
"""`reportingController` of the operator's events."""

AGENT_REPORTER: Final = f"{GROUP}/hpi-agent"
"""`reportingController` of every agent's events; the admission policy knows it."""

AGENT_AUDIENCE: Final = "hpi-agent"
"""Audience of the one token that a serving pod holds."""

PIPELINE: Final = f"{GROUP}/pipeline"
"""Label: name of the pipeline that an object belongs to; the operator watches objects with it alone."""

CLASS: Final = f"{GROUP}/class"
"""Label: class of hardware of a Deployment and its pods, in lower case."""

REVISION: Final = f"{GROUP}/revision"
"""Label: revision that a pod or a ConfigMap belongs to."""

TRACK: Final = f"{GROUP}/track"
"""Label: `stable` or `canary`."""

PART: Final = f"{GROUP}/part"
"""Label: what a pod is for: `serving`, `prebuild`, `self-test`."""

RUNTIME: Final = f"{GROUP}/runtime"
"""Label: HPIRuntime of a self-test pod."""

RESOLUTION: Final = f"{GROUP}/resolution"
"""Label: name of the HPIEngine that a Lease or a Job belongs to."""

APPLIED: Final = f"{GROUP}/applied"
"""Annotation: digest of what was applied, so that an unchanged object is not written again."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
NAME: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"

NODE_RUNTIME_PREFIX: Final = f"runtime.{GROUP}/"
"""Prefix of the Node labels that say which runtimes are usable there; only the operator writes them."""

USABLE: Final = "usable"
"""Value of such a label."""

MAX_NAME: Final = 63
_DIGITS: Final = 8

SELF_TEST: Final = "self-test"
"""Value of `PART`, subcommand of the agent and beginning of the names of pods that prove a runtime on a node."""

SELF_TEST_ACCOUNT: Final = "hpi-self-test"
"""Service account of self-test pods in the operator's namespace: it has no rights, and the registry's secrets."""

OPERATOR_NAMESPACE: Final = "hpi-system"
"""Where the operator and self-test pods live unless an installation says otherwise."""

AGENT_NAMESPACE: Final = "hpi-agents"
"""Where the node agents live unless an installation says otherwise."""

AGENT_PORT: Final = 8470
"""Where pods find their node's agent, at the address of the node."""

ENV_AGENT: Final = "HPI_AGENT"
"""Variable of every pod: `http://ADDRESS:PORT` of its node's agent."""

ENV_AGENT_TOKEN: Final = "HPI_AGENT_TOKEN"  # noqa: S105 - the name of a variable that names a file
"""Variable of every pod: file with the token by which that agent knows it."""

ENV_REVISION: Final = "HPI_REVISION"
"""Variable of serving pods and of those that build ahead: the revision of their pipeline."""

ENV_DEVICE: Final = "HPI_DEVICE"
"""Variable of serving pods and of those that build ahead: PaddleX's word for the device that they were given."""

ENV_RESOLUTIONS: Final = "HPI_RESOLUTIONS"
"""Variable of pods that build ahead: names of the HPIEngines that they build, with commas between them."""

ENV_RUNTIME: Final = "HPI_RUNTIME"
"""Variable of self-test pods: name of the HPIRuntime."""

ENV_LOCK_DIGEST: Final = "HPI_LOCK_DIGEST"
"""Variable of self-test pods, and of those whose runtime the node's agent has installed: digest of the list of its
wheels."""

ENV_RUNTIMES: Final = "HPI_RUNTIMES"
"""Variable of pods whose runtime the node's agent has installed: the folder where its environments are mounted."""

ENV_VARIANT: Final = "HPI_VARIANT"
"""Variable of the same pods: name of the plugin variant; `HPI_LOCK_DIGEST` says in which lock."""

NODE_FOLDER: Final = "/var/lib/hpi"
"""Folder of every node that its agent owns, unless an installation says otherwise."""

NODE_RUNTIMES: Final = "runtimes"
"""Folder in it: environments that the agent installs, and pods mount read-only."""

NODE_WHEELHOUSE: Final = "wheelhouse"
"""Folder in it: where it is there, all wheels come from it and no index is asked."""

ENV_BACKENDS: Final = "HPI_BACKENDS"
"""Variable of self-test pods: backends that the HPIRuntime claims, with commas between them."""


def shortened(name: str, longest: int) -> str:
    """Return a name of at most so many characters: as it is, or its beginning and 8 digits of its digest.

    Two different names never become one, and a letter or digit stands at both ends.
    """
    if len(name) <= longest:
        return name
    digits = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: longest - _DIGITS - 1].rstrip('-.')}-{digits}"


def child_name(pipeline: str, *parts: str, longest: int = MAX_NAME) -> str:
    """Return the name of an object that belongs to a pipeline: `ocr-nvidia`, at most 63 characters.

    Args:
        pipeline: Name of the pipeline.
        parts: What tells the object from the others of its kind; none: the object has the pipeline's own name.
        longest: Most characters.
    """
    return shortened("-".join([pipeline, *parts]), longest)


def node_runtime_label(runtime: str) -> str:
    """Return the key of the Node label that says that a runtime is usable there."""
    return NODE_RUNTIME_PREFIX + shortened(runtime, MAX_NAME)


def self_test_name(node: str, node_uid: str, runtime: str, lock_digest: str) -> str:
    """Return the name of a self-test pod: another lock, or another node of the same name, is another test.

    The operator makes the pod, and the node's agent believes nobody of another name.
    """
    digits = digest_of_json([runtime, lock_digest, node_uid]).partition(":")[2][:_DIGITS]
    return f"{shortened(f'{SELF_TEST}-{runtime}-{node}', MAX_NAME - _DIGITS - 1)}-{digits}"
