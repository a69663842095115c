"""How the API server is reached: a kubeconfig file, or the rights of the pod that this program runs in."""

from __future__ import annotations

import os
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
