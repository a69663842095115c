"""What one installation is: where it lives, whose accounts it has, which images its programs run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.base import DNS_LABEL
from hpi_core.errors import Refused
from hpi_core.names import AGENT_NAMESPACE, INSTANCE, NAME, NODE_FOLDER, OPERATOR_NAMESPACE, SELF_TEST_ACCOUNT

AGENT_IMAGE: Final = "hpi-agent"
CACHE_PATH: Final = NODE_FOLDER
RESTRICTED: Final = "restricted"

PART_OF: Final = "app.kubernetes.io/part-of"
COMPONENT: Final = "app.kubernetes.io/component"

RBAC: Final = "rbac.authorization.k8s.io"
RBAC_VERSION: Final = f"{RBAC}/v1"

FOLDER: Final = r"^(/\.?[A-Za-z0-9_-][A-Za-z0-9._-]*)+$"
"""A whole path without `.` and `..`, and not the root: the agents' user becomes the owner of the folder."""

_IMAGE: Final = r"^[a-z0-9][A-Za-z0-9._:/@-]{0,511}$"


@dataclass(frozen=True)
class Account:
    """A service account."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """The user name that the API server gives to whoever holds a token of it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def subject(self) -> dict[str, str]:
        """The subject of a binding."""
        return {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}


@dataclass(frozen=True)
class Installation:
    """One installation; a cluster has at most one.

    Raises:
        Refused: A namespace, an image or the folder is none, or both namespaces are the same.
    """

    image: str
    """The operator's image."""
    namespace: str = OPERATOR_NAMESPACE
    """Of the operator and of self-test pods; Pod Security `restricted` holds there."""
    agent_namespace: str = AGENT_NAMESPACE
    """Of the node agents, which need host paths."""
    agent_image: str = AGENT_IMAGE
    """The node agents' image."""
    cache_path: str = CACHE_PATH
    """Folder of each node that its agent owns; pools of nodes name the same."""
    pod_security: str = RESTRICTED
    """Level of Pod Security of the operator's namespace: `restricted`; `privileged` where HPIRuntimes have delivery
    Store, because their self-tests, which run there, mount a folder of the node."""

    def __post_init__(self) -> None:
        for name in (self.namespace, self.agent_namespace):
            if re.fullmatch(DNS_LABEL, name) is None:
                raise Refused(f"{name!r} is no name of a namespace: lower-case letters, digits and '-', at most 63")
        if self.namespace == self.agent_namespace:
            raise Refused(
                f"operator and agents cannot both live in {self.namespace}: agents need host paths, which Pod Security "
                "allows to a whole namespace or not at all; name another one for either"
            )
        for image in (self.image, self.agent_image):
            if re.fullmatch(_IMAGE, image) is None:
                raise Refused(f"{image!r} is no name of an image: [REGISTRY/]NAME[:TAG][@DIGEST]")
        if re.fullmatch(FOLDER, self.cache_path) is None:
            raise Refused(f"{self.cache_path!r} is no folder of a node: name its whole path, such as {CACHE_PATH}")

    @property
    def operator(self) -> Account:
        """The operator's account."""
        return Account(self.namespace, "hpi-operator")

    @property
    def agent(self) -> Account:
        """The account of every node agent; the token of each says on which node it runs."""
        return Account(self.agent_namespace, "hpi-agent")

    @property
    def self_test(self) -> Account:
        """The account of self-tests: it may do nothing, and a site gives it the secrets of its registry."""
        return Account(self.namespace, SELF_TEST_ACCOUNT)


def labels(component: str) -> dict[str, str]:
    """Return the labels of everything that belongs to one component of the installation."""
    return {NAME: f"hpi-{component}", INSTANCE: "hpi", PART_OF: "hpi", COMPONENT: component}


def selector(component: str) -> dict[str, str]:
    """Return the labels that tell the pods of one component from all others; they never change."""
    return {key: value for key, value in labels(component).items() if key in (NAME, COMPONENT)}


def metadata(name: str, component: str, namespace: str | None = None) -> dict[str, Any]:
    """Return the metadata of an object of the installation; without a namespace it is the whole cluster's."""
    place = {"namespace": namespace} if namespace is not None else {}
    return {"name": name, **place, "labels": labels(component)}
