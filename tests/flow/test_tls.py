"""TLS and a password on the way to Redis: only the URL changes, for apps, ServeCore and engines alike."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import parrot as P
from parrot.broker.connection import connect
from parrot.broker.embedded import EmbeddedServer
from tests.flow.cells import running

pytestmark = pytest.mark.redis7


@P.semantic_function()
def start(text: P.Input, result: P.Output(P.SamplingConfig(temperature=0, max_gen_length=8))):
    """Begin with {{text}}: {{result}}"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "certificate.pem").write_bytes(made.public_bytes(pem))
    return tmp_path / "certificate.pem"


@pytest.fixture
async def tls_url(certificate: Path, redis7_binary: Path, tmp_path: Path) -> AsyncIterator[str]:
    """A server that speaks TLS and asks for a password."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(certificate.with_name("key.pem")),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "no",
    }
    with EmbeddedServer(tmp_path / "server", binary=redis7_binary, options=options) as server:
        async with connect(server.url) as client:
            await client.config_set("requirepass", "s3cret")
        yield f"rediss://:s3cret@127.0.0.1:{port}/0?ssl_ca_certs={certificate}"


async def test_a_program_runs_over_tls_with_a_password(tls_url: str) -> None:
    async with running(tls_url, engines=1), P.AsyncSession(tls_url) as session:
        assert await start(text="x").aget(timeout=20)
        assert session.id


async def test_a_wrong_password_is_a_sentence_that_does_not_show_it(tls_url: str) -> None:
    with pytest.raises(P.BrokerUnavailable, match="refuses this user") as refused:
        async with P.AsyncSession(tls_url.replace("s3cret", "wr0ng")):
            await start(text="x").aget(timeout=20)
    assert "wr0ng" not in str(refused.value)


async def test_a_server_that_nobody_vouches_for_is_not_believed(tls_url: str) -> None:
    with pytest.raises(P.BrokerUnavailable):
        async with P.AsyncSession(tls_url.partition("?")[0]):
            await start(text="x").aget(timeout=20)
