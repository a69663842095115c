"""Signatures of S3 requests (AWS Signature Version 4); the sole importer of botocore.

Only its signer is used. Its clients read settings from the environment, from `~/.aws` and from metadata services, and
bring a way to the network of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hpi_agent.models.sources.credentials import Secret
from hpi_agent.models.sources.url import Url
from hpi_core.errors import SourceFailed


def signed_headers(
    url: Url, headers: Mapping[str, str], keys: tuple[Secret, Secret, Secret | None], region: str
) -> dict[str, Secret]:
    """Return the headers of a GET request with its signature.

    Args:
        url: What is asked for, the query included.
        headers: What is signed with it.
        keys: Access key, secret key and session token.
        region: Where the bucket lies.

    Raises:
        SourceFailed: The signer is not installed.
    """
    try:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        AWSRequest = None
    if AWSRequest is None:
        raise SourceFailed("s3:// with credentials needs the package botocore; install hpi[s3]")
    # At its lowest level it writes what it signs, a session token included, and the signature.
    logging.getLogger("botocore.auth").setLevel(logging.INFO)
    access, secret, session = keys
    request = AWSRequest("GET", url.text, headers=dict(headers))
    token = None if session is None else session.reveal()
    S3SigV4Auth(Credentials(access.reveal(), secret.reveal(), token), "s3", region).add_auth(request)
    return {name: Secret(value) for name, value in request.headers.items()}
