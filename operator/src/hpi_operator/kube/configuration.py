"""How the API server is reached: a kubeconfig file, or the rights of the pod that this program runs in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_core.errors import Refused

AGENT: Final = "hpi-operator"
"""What this program calls itself; the API server's audit log and its metrics have it."""


def load_client(kubeconfig: str | None, connections: int) -> Any:
    """Return the library's client for a kubeconfig file, or for the pod's own rights.

    Raises:
        Refused: There is neither, or the file cannot be used.
    """
    # Importing the library takes two seconds: nothing that needs no cluster pays for it.
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config.config_exception import ConfigException

    configuration = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG")
    try:
        if path:
            config.load_kube_config(path, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
    except (ConfigException, OSError, yaml.YAMLError) as error:
        by = f" by {path}" if path else ""
        raise Refused(
            f"no API server to speak to{by}: {error}; give --kubeconfig FILE, set $KUBECONFIG, or run in a pod whose "
            "service account's token is mounted"
        ) from error
    configuration.connection_pool_maxsize = connections
    # What failed is decided above: a repeated write would be counted twice.
    configuration.retries = False
    return ApiClient(configuration)


@dataclass(frozen=True)
class Access:
    """How a person reaches a cluster, as `kubectl` would."""

    server: str
    """URL of the API server."""
    namespace: str
    """The namespace of the context, `default` where it names none."""
    client: Any
    """The library's client."""


_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def person_access(kubeconfig: str | None, context: str | None, connections: int) -> Access:
    """Return how the person at hand reaches a cluster.

    The rules are those of `kubectl`: the file that is named, else the files in `$KUBECONFIG`, else `~/.kube/config`,
    else the rights of the pod; credential plugins are asked by the library.

    Raises:
        Refused: There is no usable configuration, or no such context.
    """
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.kube_config import KubeConfigMerger

    configuration = Configuration()
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    files = [str(Path(one).expanduser()) for one in named.split(os.pathsep) if one]
    namespace = "default"
    try:
        if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ and not _any_there(files):
            config.load_incluster_config(client_configuration=configuration)
            namespace = _POD_NAMESPACE.read_text(encoding="utf-8").strip() if _POD_NAMESPACE.is_file() else namespace
        else:
            if not _any_there(files):
                raise ConfigException(f"there is no file {' or '.join(files)}")
            paths = os.pathsep.join(files)
            contexts = [one.value for one in KubeConfigMerger(paths).config.value["contexts"]]
            current = _context(contexts, context or _current(files))
            namespace = current["context"].get("namespace") or namespace
            config.load_kube_config(paths, context=current["name"], client_configuration=configuration)
    except (ConfigException, OSError, TypeError, yaml.YAMLError) as error:
        raise Refused(
            f"no API server to speak to: {error}; name a kubeconfig file with --kubeconfig FILE or $KUBECONFIG"
        ) from error
    configuration.connection_pool_maxsize = connections
    configuration.retries = False
    return Access(str(configuration.host), namespace, ApiClient(configuration))


def _any_there(files: list[str]) -> bool:
    return any(Path(one).is_file() for one in files)


def _current(files: list[str]) -> str | None:
    """Return the current context as kubectl finds it: the first file that names one. The library takes the last."""
    for one in files:
        if Path(one).is_file():
            document = yaml.safe_load(Path(one).read_text(encoding="utf-8"))
            if isinstance(document, dict) and document.get("current-context"):
                return str(document["current-context"])
    return None


def _context(contexts: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    names = [str(one["name"]) for one in contexts]
    if wanted is None:
        raise Refused(f"the kubeconfig names no current context: give --context; it has: {', '.join(sorted(names))}")
    for one in contexts:
        if one["name"] == wanted:
            return one
    near = get_close_matches(wanted, names, 1)
    hint = f": did you mean {near[0]}?" if near else "."
    raise Refused(f"the kubeconfig has no context {wanted!r}{hint} It has: {', '.join(sorted(names)) or 'none'}")


def login_facts(kubeconfig: str | None) -> dict[str, Any]:
    """Return server, certificates and token as kopf's `ConnectionInfo` takes them.

    Raises:
        Refused: As `load_client`.
    """
    configuration = load_client(kubeconfig, 1).configuration
    header = configuration.get_api_key_with_prefix("authorization") or ""
    scheme, _, token = header.partition(" ")
    return {
        "server": configuration.host,
        "ca_path": configuration.ssl_ca_cert,
        "insecure": not configuration.verify_ssl,
        "certificate_path": configuration.cert_file,
        "private_key_path": configuration.key_file,
        "scheme": scheme.capitalize() or None,
        "token": token.strip() or None,
    }
