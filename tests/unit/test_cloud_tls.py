"""Certificates: what they name, who may read the keys, when they are renewed."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from localcloud import tls

REGION = "eu-central-1"


def serve_once(files: tls.TlsFiles) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        connection, _address = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)
        except (ssl.SSLError, OSError):
            connection.close()
        listener.close()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def handshake(files: tls.TlsFiles, name: str) -> None:
    port = serve_once(files)
    context = ssl.create_default_context(cafile=str(files.bundle))
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname=name),
    ):
        pass


@pytest.mark.parametrize(
    "name",
    ["localhost", "127.0.0.1", "bucket.s3.localhost", f"{'a' * 32}.lambda-url.{REGION}.localhost"],
)
def test_clients_accept_the_names_of_the_cloud(tmp_path: Path, name: str) -> None:
    handshake(tls.ensure(tmp_path, REGION), name)


def test_no_other_name_is_accepted(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path, REGION)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, "sagemaker.us-east-1.amazonaws.com")


def test_keys_are_private(tmp_path: Path) -> None:
    tls.ensure(tmp_path / "tls", REGION)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for name in ("ca-key.pem", "server-key.pem"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600


def test_bundle_holds_public_authorities_too(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path, REGION)
    assert files.bundle.read_text().endswith(files.authority.read_text())
    assert files.bundle.read_text().count("BEGIN CERTIFICATE") > 50


def test_certificates_are_kept_until_near_their_end(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path, REGION)
    first = files.certificate.read_bytes(), files.authority.read_bytes()
    tls.ensure(tmp_path, REGION)
    assert (files.certificate.read_bytes(), files.authority.read_bytes()) == first
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=380)
    tls.ensure(tmp_path, REGION, now=later)
    assert files.certificate.read_bytes() != first[0]
    assert files.authority.read_bytes() == first[1]
    much_later = later + dt.timedelta(days=3300)
    tls.ensure(tmp_path, REGION, now=much_later)
    assert files.authority.read_bytes() != first[1]


def test_another_region_needs_another_certificate(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path, REGION)
    first = files.certificate.read_bytes()
    tls.ensure(tmp_path, "us-west-2")
    assert files.certificate.read_bytes() != first


def test_torn_files_are_replaced(tmp_path: Path) -> None:
    files = tls.ensure(tmp_path, REGION)
    files.key.write_text("not a key")
    tls.ensure(tmp_path, REGION)
    handshake(files, "localhost")
