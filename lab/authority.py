"""The lab's certificate authorities, which only its hosts and its workstation trust."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LIFETIME = datetime.timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs server certificates; keys are P-256, which are generated instantly."""

    def __init__(self, name: str = "Lab CA") -> None:
        self._key: ec.EllipticCurvePrivateKey = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def save(self, file: Path) -> None:
        """Write key and certificate where another process can `load` them."""
        file.touch(0o600)
        file.write_bytes(_pem(self._key) + self.pem)

    @classmethod
    def load(cls, file: Path) -> Authority:
        """The authority that was saved in this directory."""
        self = cls.__new__(cls)
        text = file.read_bytes()
        key = serialization.load_pem_private_key(text, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{file} holds another kind of key")
        self._key, self._certificate = key, x509.load_pem_x509_certificate(text)
        self._name = self._certificate.subject
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)
        return self

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
        )

    def issue(self, names: Sequence[str]) -> Certificate:
        """A server certificate for these DNS names; the first is its common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Certificate(self.certify(names, key.public_key()), _pem(key))

    def certify(self, names: Sequence[str], public_key: ec.EllipticCurvePublicKey) -> bytes:
        """The same for an existing public key: the certificate, PEM."""
        # A common name has at most 64 characters; clients read the alternative names.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        certificate = (
            self._builder(subject, public_key)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def write_trust(self, certs_dir: Path, others: Sequence[bytes] = ()) -> None:
        """Fill an /etc/ssl/certs: the authority's certificate in the bundle, then `others` (PEM), and as a
        hash link.

        OpenSSL and Ruby look certificates up by hash, Go and curl read the bundle.
        """
        certs_dir.mkdir(parents=True, exist_ok=True)
        (certs_dir / "ca-certificates.crt").write_bytes(b"".join([self.pem, *others]))
        (certs_dir / "lab-ca.pem").write_bytes(self.pem)
        (certs_dir / f"{self._subject_hash()}.0").symlink_to("lab-ca.pem")

    def _subject_hash(self) -> str:
        command = ["openssl", "x509", "-noout", "-subject_hash"]
        return (
            subprocess.run(command, input=self.pem, capture_output=True, check=True).stdout.decode().strip()
        )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
