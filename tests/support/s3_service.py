"""A service of S3 on this machine that checks signatures: moto's server, in a process of its own.

    python s3_service.py     prints one JSON line with its address and the keys of two users

The signature of every request is checked (moto's IAM), so a wrong secret is really refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REGION: Final = "us-east-1"
BUCKET: Final = "models"
PAGE: Final = 10
"""Most objects of one page of a list; Amazon's service has 1,000."""

RIGHTS: Final = {"reader": ["s3:GetObject", "s3:ListBucket"], "writer": ["s3:*"], "getter": ["s3:GetObject"]}
"""Users and what they may do."""


@dataclass(frozen=True)
class S3Service:
    """One running service."""

    url: str
    keys: Mapping[str, tuple[str, str]]
    """Access key and secret key by user."""

    def put(self, key: str, content: bytes, bucket: str = BUCKET) -> None:
        """Lay an object into a bucket."""
        self._put(f"/{bucket}/{quote(key)}", content)

    def make_bucket(self, name: str) -> None:
        """Make another bucket."""
        self._put(f"/{name}", b"")

    def secret(self, root: Path, name: str = "s3", user: str = "reader", **changes: str | None) -> Path:
        """Write a user's keys as a Secret below a folder; return the folder."""
        access, secret = self.keys[user]
        keys: Mapping[str, str | None] = {"accessKeyId": access, "secretAccessKey": secret, **changes}
        (root / name).mkdir(parents=True, exist_ok=True)
        for key, value in keys.items():
            if value is not None:
                (root / name / key).write_text(value)
        return root

    def _put(self, path: str, content: bytes) -> None:
        # urllib would call it a form, and moto would read it as one.
        headers = {"Content-Type": "application/octet-stream"}
        request = AWSRequest("PUT", self.url + path, headers, content)
        S3SigV4Auth(Credentials(*self.keys["writer"]), "s3", REGION).add_auth(request)
        sent = urllib.request.Request(self.url + path, content, dict(request.headers.items()), method="PUT")
        with urllib.request.urlopen(sent):
            pass


@contextlib.contextmanager
def running() -> Iterator[S3Service]:
    """Run a service until the context ends."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Nothing of this machine's own settings for Amazon's services, and no question to a metadata service.
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE),
        },
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        service = S3Service(**json.loads(process.stdout.readline()))
        service.make_bucket(BUCKET)
        yield service
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def main() -> None:
    """Serve until standard input ends."""
    import boto3
    from moto import settings
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    given: dict[str, Any] = {"aws_access_key_id": "root", "aws_secret_access_key": "root", "region_name": REGION}
    iam = boto3.client("iam", endpoint_url=url, **given)
    keys = {}
    for user, actions in RIGHTS.items():
        iam.create_user(UserName=user)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName=user)["AccessKey"]
        keys[user] = made["AccessKeyId"], made["SecretAccessKey"]
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    print(json.dumps({"url": url, "keys": keys}), flush=True)
    ended = threading.Thread(target=sys.stdin.read)
    ended.start()
    ended.join()
    server.stop()


if __name__ == "__main__":
    main()
