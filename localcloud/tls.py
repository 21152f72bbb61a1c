"""The cloud's own certificate authority and server certificate.

Clients verify TLS as on AWS, since bucket policies deny plain HTTP (`aws:SecureTransport`).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS = 3650
# Apple's clients refuse server certificates that are valid for longer than 825 days.
_SERVER_DAYS = 397
_RENEW_BEFORE_DAYS = 30


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files: what the server presents, and `bundle`, what clients trust."""

    authority: Path
    certificate: Path
    key: Path
    bundle: Path


def host_names(region: str) -> tuple[str, ...]:
    """Names under which the cloud is reached.

    A wildcard stands for one label, and clients refuse it before a single label: no `*.localhost`, so
    S3 is addressed by path.
    """
    return (
        "localhost",
        f"*.lambda-url.{region}.localhost",
        f"*.execute-api.{region}.localhost",
        "*.execute-api.localhost",
        "*.s3.localhost",
        f"*.s3.{region}.localhost",
    )


def ensure(folder: Path, region: str, now: dt.datetime | None = None) -> TlsFiles:
    """Make the authority and the server certificate, or renew what is near its end.

    Args:
        folder: created with mode 0700; key files have mode 0600.
        region: part of the names of function URLs.
        now: for tests.
    """
    now = now or dt.datetime.now(dt.UTC)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_path, authority_key_path = folder / "ca.pem", folder / "ca-key.pem"
    files = TlsFiles(authority_path, folder / "server.pem", folder / "server-key.pem", folder / "bundle.pem")
    if not _usable(authority_path, authority_key_path, now):
        _make_authority(authority_path, authority_key_path, now)
        files.certificate.unlink(missing_ok=True)
    names = host_names(region)
    if not _usable(files.certificate, files.key, now, names):
        _make_server(files, authority_path, authority_key_path, names, now)
    _write(files.bundle, _public_authorities().read_bytes() + b"\n" + authority_path.read_bytes(), 0o644)
    return files


def _public_authorities() -> Path:
    """The bundle of the AWS SDK, so that clients of the cloud still reach the rest of the world."""
    found = find_spec("botocore")
    if found is None or found.origin is None:
        raise RuntimeError("botocore is not installed; install requirements-local.txt")
    return Path(found.origin).with_name("cacert.pem")


def _usable(certificate: Path, key: Path, now: dt.datetime, names: tuple[str, ...] = ()) -> bool:
    if not certificate.is_file() or not key.is_file():
        return False
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except ValueError:
        return False
    if (
        loaded.not_valid_after_utc - now < dt.timedelta(days=_RENEW_BEFORE_DAYS)
        or loaded.not_valid_before_utc > now
    ):
        return False
    if not isinstance(private, ec.EllipticCurvePrivateKey) or loaded.public_key() != private.public_key():
        return False
    if not names:
        return True
    alternative = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names) <= set(alternative.get_values_for_type(x509.DNSName))


def _make_authority(path: Path, key_path: Path, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own per authority: two folders' authorities may end up in one trust store.
    name = _name(f"Modelyard local cloud {x509.random_serial_number():x}"[:60])
    certificate = (
        _builder(name, name, key.public_key(), now, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Whoever steals this key can speak for these names only.
        .add_extension(_only_local_names(), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _pem(key), 0o600)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_server(
    files: TlsFiles, authority_path: Path, authority_key_path: Path, names: tuple[str, ...], now: dt.datetime
) -> None:
    authority = x509.load_pem_x509_certificate(authority_path.read_bytes())
    authority_key = serialization.load_pem_private_key(authority_key_path.read_bytes(), None)
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
        raise TypeError(
            f"{authority_key_path} holds no elliptic curve key; delete {authority_key_path.parent}"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    addresses: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    addresses += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    certificate = (
        _builder(_name("localhost"), authority.subject, key.public_key(), now, _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    _write(files.key, _pem(key), 0o600)
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _only_local_names() -> x509.NameConstraints:
    return x509.NameConstraints(
        permitted_subtrees=[
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_network("127.0.0.0/8")),
            x509.IPAddress(ipaddress.ip_network("::1/128")),
        ],
        excluded_subtrees=None,
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    staging = path.with_suffix(".tmp")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    staging.replace(path)
