"""The two namespaces of an installation, and the accounts that live there."""

from __future__ import annotations

from hpi_operator.install.installation import Account, Installation, metadata
from hpi_operator.plan.intent import Manifest

POD_SECURITY = "pod-security.kubernetes.io"


def namespaces(installation: Installation) -> tuple[Manifest, ...]:
    """Return both namespaces.

    Agents mount host paths, which no level of Pod Security but `privileged` allows, so they have a namespace of their
    own: everything else of the project is `restricted`, unless self-tests have to mount what agents install.
    """
    return (
        _namespace(installation.namespace, "operator", installation.pod_security),
        _namespace(installation.agent_namespace, "agent", "privileged"),
    )


def accounts(installation: Installation) -> tuple[Manifest, ...]:
    """Return the accounts of operator, agent and self-tests; a pod that wants the token says so itself."""
    return (
        _account(installation.operator, "operator"),
        _account(installation.agent, "agent"),
        account_of_self_tests(installation),
    )


def account_of_self_tests(installation: Installation) -> Manifest:
    """Return the account of the pods that the operator makes to prove runtimes."""
    return _account(installation.self_test, "operator")


def _namespace(name: str, component: str, level: str) -> Manifest:
    written = metadata(name, component)
    modes = {f"{POD_SECURITY}/{mode}": level for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {**written, "labels": {**written["labels"], **modes}}}


def _account(account: Account, component: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(account.name, component, account.namespace),
        "automountServiceAccountToken": False,
    }
