"""The command to look next, for each reason that a look helps with; the troubleshooting page has them too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hpi_core.names import AGENT_NAMESPACE, OPERATOR_NAMESPACE, PART, PIPELINE

_WORD: Final = re.compile(r"(?<![A-Za-z])(NAMESPACE|NAME|NODE|OPERATOR|AGENTS)(?![A-Za-z])")
_OWN: Final = f"-n NAMESPACE -l {PIPELINE}=NAME"
_EXPLAIN: Final = "kubectl hpi explain NAME -n NAMESPACE"
AGENTS: Final = "kubectl get pods -n AGENTS -o wide"
_OPERATOR: Final = "kubectl logs -n OPERATOR deployment/hpi-operator --tail=50"
_RIGHTS: Final = "kubectl auth can-i --list --as system:serviceaccount:OPERATOR:hpi-operator"

LOOK: Final[Mapping[str, tuple[str, ...]]] = {
    "NotLookedAt": ("kubectl get pods -n OPERATOR -o wide", _OPERATOR),
    "ReferenceMissing": ("kubectl get configmaps,secrets,pvc -n NAMESPACE",),
    "NameTaken": ("kubectl get deployments,services,configmaps,serviceaccounts -n NAMESPACE --show-labels",),
    "FieldConflict": (f"kubectl get deployments,services,hpa {_OWN} -o yaml --show-managed-fields",),
    "ObjectRefused": (
        "kubectl describe resourcequotas,limitranges -n NAMESPACE",
        "kubectl describe hpi NAME -n NAMESPACE",
    ),
    "InvalidSpec": ("kubectl explain hpi.spec --recursive",),
    "NotSupported": ("kubectl get hpi NAME -n NAMESPACE -o yaml",),
    "NoMatchingNode": ("kubectl hpi nodes",),
    "NoMatchingRuntime": (_EXPLAIN, "kubectl get hpiruntimes"),
    "RuntimeNotUsable": ("kubectl hpi nodes", f"kubectl get pods -A -o wide -l {PART}=self-test"),
    "Spilled": ("kubectl hpi status NAME -n NAMESPACE",),
    "RevisionFailed": ("kubectl hpi status NAME -n NAMESPACE",),
    "RolledBack": ("kubectl hpi status NAME -n NAMESPACE",),
    "ProgressDeadlineExceeded": (f"kubectl describe pods {_OWN}",),
    "TooFewReplicas": (f"kubectl get pods {_OWN} -o wide",),
    "NoReplica": (f"kubectl get pods {_OWN} -o wide",),
    "Provisional": (_EXPLAIN,),
    "Fallback": (_EXPLAIN,),
    "Building": (_EXPLAIN,),
    "NotReported": (AGENTS,),
    "EngineFailed": (_EXPLAIN,),
    "PrebuildGaveUp": (f"kubectl get jobs,pods {_OWN},{PART}=prebuild",),
    "Prebuilding": (f"kubectl get jobs,pods {_OWN},{PART}=prebuild",),
    "ClaimPending": (f"kubectl describe pvc {_OWN}",),
    "ClaimDiffers": (f"kubectl get pvc {_OWN} -o yaml",),
    "ClaimMissing": ("kubectl get pvc -n NAMESPACE",),
    "RouteNotAccepted": ("kubectl describe httproute NAME -n NAMESPACE", "kubectl get gateways -A"),
    "SelfTestFailed": (f"kubectl get pods -A -o wide -l {PART}=self-test",),
    "SelfTestRunning": (f"kubectl get pods -A -o wide -l {PART}=self-test",),
    "SelfTestCannotStart": (f"kubectl get pods -A -o wide -l {PART}=self-test",),
    "RuntimeInstalling": ("kubectl hpi nodes NODE",),
    "RuntimeInstallFailed": ("kubectl hpi nodes NODE", AGENTS),
    "HostPathsForbidden": ("kubectl get namespaces --show-labels",),
    "CacheFull": ("kubectl hpi nodes NODE",),
    "CacheUnusable": (AGENTS,),
    "NoRuntimeFits": ("kubectl hpi nodes NODE", "kubectl get hpiruntimes"),
    "NoReport": (AGENTS,),
    "HardwareFaulty": ("kubectl hpi nodes NODE",),
    "NodeNotReady": ("kubectl describe node NODE",),
    "PoolsOverlap": ("kubectl get hpinodepools -o yaml",),
    "NoSuchRuntime": ("kubectl get hpiruntimes",),
    "NodesWaiting": ("kubectl hpi nodes",),
    "PermissionMissing": (_RIGHTS, _OPERATOR),
    "WorldIncomplete": (_OPERATOR,),
}
"""Commands by reason. In capitals: what stands for a name."""


@dataclass(frozen=True)
class Place:
    """What stands in the place of the words in capitals."""

    namespace: str = ""
    """Of the pipeline."""
    name: str = ""
    """Of the pipeline."""
    node: str = ""
    """Of the node; empty: every one."""
    operator: str = OPERATOR_NAMESPACE
    """Namespace of the operator."""
    agents: str = AGENT_NAMESPACE
    """Namespace of the node agents."""
    kubectl: str = "kubectl"
    """How kubectl is called: `kubectl --context prod` where another cluster than the usual one was asked."""


def look(reason: str, place: Place) -> tuple[str, ...]:
    """Return the commands to look next for a reason, with every name in its place."""
    return tuple(filled(one, place) for one in LOOK.get(reason, ()))


def filled(command: str, place: Place) -> str:
    """Return a command with every name in its place, and with the context that was asked."""
    if place.node and command == AGENTS:
        command += " --field-selector spec.nodeName=NODE"
    words = {
        "NAMESPACE": place.namespace,
        "NAME": place.name,
        "NODE": place.node,
        "OPERATOR": place.operator,
        "AGENTS": place.agents,
    }
    line = _WORD.sub(lambda found: words[found[0]], command).rstrip()
    # A plugin takes its flags behind its own name.
    arguments = place.kubectl.removeprefix("kubectl")
    return line + arguments if line.startswith("kubectl hpi ") else line.replace("kubectl", place.kubectl, 1)
