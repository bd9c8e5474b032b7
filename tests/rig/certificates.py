# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""A certification authority of our own, which nobody else trusts."""

import dataclasses
import datetime
import ipaddress
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab import layout

DAY = datetime.timedelta(days=1)

SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in files."""

    certfile: pathlib.Path
    keyfile: pathlib.Path


class Authority:
    """Issues certificates for this machine's loopback.

    :param where: directory for all that it writes
    :ivar cafile: by which to know its certificates
    """

    def __init__(self, where: pathlib.Path) -> None:
        self._where = where
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name('authority of a test')
        certificate = (
            self._builder('authority of a test', self._key.public_key())
            .add_extension(
                x509.BasicConstraints(ca=True, path_length=0), critical=True
            )
            # Python 3.13 asks for this and for the identifiers of keys.
            .add_extension(SIGNS_CERTIFICATES, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.cafile = where / 'ca.pem'
        _write(self.cafile, certificate)

    def issue(self, name: str) -> Certificate:
        """A certificate for a server on loopback, or for a client of one."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address(layout.HOST))
        certificate = (
            self._builder(name, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([address]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        issued = Certificate(
            self._where / f'{name}.pem', self._where / f'{name}-key.pem'
        )
        _write(issued.certfile, certificate)
        issued.keyfile.touch(mode=0o600)
        issued.keyfile.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued

    def _builder(
        self, name: str, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._key.public_key()
                ),
                critical=False,
            )
        )


@dataclasses.dataclass(frozen=True)
class Tls:
    """How an API is served over TLS.

    :ivar demanding: whether its clients have to show a certificate
    """

    authority: Authority
    server: Certificate
    demanding: bool = False

    @property
    def client_certificates(self) -> ssl.VerifyMode:
        return ssl.CERT_REQUIRED if self.demanding else ssl.CERT_NONE

    def context(self) -> ssl.SSLContext:
        """For a client that is let in."""
        context = ssl.create_default_context(cafile=self.authority.cafile)
        # As it is by default since Python 3.13.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(self.server.certfile, self.server.keyfile)
        return context


def serving(certificate: Certificate) -> ssl.SSLContext:
    """For a server with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certfile, certificate.keyfile)
    return context


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _write(path: pathlib.Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
