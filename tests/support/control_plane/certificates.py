"""Certificates of one cluster: an authority of its own, one serving certificate, as many clients as the tests need."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

LIFETIME: Final = timedelta(days=30)
SKEW: Final = timedelta(minutes=5)
"""How long ago the certificates say that they became valid."""


@dataclass(frozen=True)
class KeyPair:
    """Files of a certificate and its private key, PEM, for this user alone."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority; its key never leaves the folder of the cluster."""

    def __init__(self, folder: Path, now: datetime | None = None) -> None:
        """Make the authority.

        Args:
            folder: Takes all its files; made here, for this user alone.
            now: What every certificate counts from; None: the present.
        """
        folder.mkdir(mode=0o700)
        self._folder = folder
        self._now = now or datetime.now(timezone.utc)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test control plane")])
        usage = _key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
        builder = self._builder(self._name, self._key.public_key(), usage, x509.BasicConstraints(True, None))
        self.certificate = folder / "ca.crt"
        """The certificate that everyone in the cluster trusts, PEM."""
        _write(self.certificate, _pem(builder.sign(self._key, hashes.SHA256())))

    def issue_server(self, hosts: Collection[str]) -> KeyPair:
        """Return a serving certificate.

        Args:
            hosts: Names and IP addresses under which the servers are reached.
        """
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue("server", "server", [], ExtendedKeyUsageOID.SERVER_AUTH, [names])

    def issue_client(self, file_name: str, user: str, groups: Sequence[str]) -> KeyPair:
        """Return a client certificate: Kubernetes reads the user from CN and the groups from O.

        Args:
            file_name: What the files are called, without an ending.
            user: At most 64 characters, as X.509 has it.
            groups: Such as `system:masters`.

        Raises:
            ValueError: A name is empty or too long.
        """
        return self._issue(file_name, user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def make_signing_key(self, name: str) -> KeyPair:
        """Return a key pair that signs tokens of service accounts; `certificate` holds the public key."""
        key = ec.generate_private_key(ec.SECP256R1())
        pair = KeyPair(self._folder / f"{name}.pub", self._folder / f"{name}.key")
        _write(pair.certificate, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        _write(pair.key, _key_pem(key))
        return pair

    def _issue(
        self,
        file_name: str,
        user: str,
        groups: Sequence[str],
        purpose: ObjectIdentifier,
        extensions: Sequence[x509.ExtensionType],
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        builder = self._builder(
            subject, key.public_key(), _key_usage(digital_signature=True), x509.BasicConstraints(False, None)
        ).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        pair = KeyPair(self._folder / f"{file_name}.crt", self._folder / f"{file_name}.key")
        _write(pair.certificate, _pem(builder.sign(self._key, hashes.SHA256())))
        _write(pair.key, _key_pem(key))
        return pair

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        usage: x509.KeyUsage,
        constraints: x509.BasicConstraints,
    ) -> x509.CertificateBuilder:
        # Python 3.13 and Go verify strictly: the identifiers of both keys and the constraints must be there.
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - SKEW)
            .not_valid_after(self._now + LIFETIME)
            .add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
