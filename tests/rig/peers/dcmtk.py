"""Debian's dcmtk as peers: echoscu and storescu (not the namesakes that pynetdicom installs)."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

BINARIES = Path("/usr/bin")
SUCCESS = "Success"


def echo(port: int, *options: str | Path, calling: str = "SCANNER") -> tuple[bool, str]:
    """C-ECHO; whether it was answered, and what echoscu said."""
    command = [
        BINARIES / "echoscu",
        "-v",
        "-to",
        "10",
        "-aet",
        calling,
        "-aec",
        "MED3D",
        *options,
        "127.0.0.1",
        str(port),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def storescu(
    port: int, *paths: Path, options: Sequence[str | Path] = (), calling: str = "SCANNER"
) -> subprocess.Popen[str]:
    """A storescu that sends files or folders, started; its stdout and stderr come together."""
    command = [
        *(BINARIES / "storescu", "-v", "-aet", calling, "-aec", "MED3D", "-nh", "+sd"),
        *(*options, "127.0.0.1", str(port), *map(str, paths)),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def send(
    port: int, *paths: Path, options: Sequence[str | Path] = (), calling: str = "SCANNER"
) -> tuple[list[str], str]:
    """Send, and return the answers in order: ``Success`` or what dcmtk calls the status; and all that was said."""
    process = storescu(port, *paths, options=options, calling=calling)
    said, _ = process.communicate(timeout=120)
    return answers(said), said


def answers(said: str) -> list[str]:
    """The statuses of the C-STORE responses that storescu tells of."""
    return re.findall(r"Received Store Response \(([^)]*)\)", said)


def write(folder: Path, files: Iterable[bytes]) -> Path:
    """Bytes as files in ``folder``, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number:05d}.dcm").write_bytes(data)
    return folder


def certificates(folder: Path) -> Path:
    """An authority, key and certificate of a listener, of a client and of an expired one that it signed, and of a stranger."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, authority = _certificate("authority", None, None)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in ("listener", "client"):
        _save(folder, name, *_certificate(name, authority_key, authority))
    _save(folder, "stranger", *_certificate("stranger", None, None))
    _save(folder, "expired", *_certificate("expired", authority_key, authority, until=-timedelta(hours=1)))
    return folder


def _save(folder: Path, name: str, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(key.private_bytes(*plain))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _certificate(
    name: str,
    signer_key: rsa.RSAPrivateKey | None,
    signer: x509.Certificate | None,
    until: timedelta = timedelta(days=1),
) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signer_key or key, hashes.SHA256())
    )
    return key, made
