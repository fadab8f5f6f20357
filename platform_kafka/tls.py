"""Which files a connection over TLS uses, and why a certificate is not accepted, in a sentence that says what to do.

librdkafka says of a refused certificate little more than that a handshake failed, and whoever waits for an answer sees
a timeout. The standard library is asked for the cause with the same files. Connecting belongs to the clients.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from platform_core.errors import ConfigurationError

if TYPE_CHECKING:
    from platform_core.settings import Settings

PROBE_SECONDS = 2.0

_X509_EXPIRED, _X509_NOT_YET_VALID = 10, 9
_X509_OTHER_NAME = frozenset({62, 64})
"""OpenSSL's numbers of a certificate for another host name and for another address."""

_REFUSED_CLIENT = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")


@dataclass(frozen=True)
class TlsFiles:
    """What one kind of connection verifies servers by, and shows of itself.

    Attributes:
        variables: What the names of its variables begin with.
        address: The variable that has the server's address.
    """

    variables: str
    address: str
    ca: Path | None
    certificate: Path | None = None
    key: Path | None = None
    key_password: str = ""

    def context(self) -> ssl.SSLContext:
        """Return a client's context with these files.

        Raises:
            ConfigurationError: a file cannot be used; the message names its variable.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (ssl.SSLError, OSError) as error:
            raise self._unusable("CA", self.ca, "has no certificate in PEM that can be read", error) from None
        if self.certificate is not None:
            try:
                # Without any password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.certificate, self.key, lambda: self.key_password)
            except (ssl.SSLError, OSError) as error:
                what = (
                    f"and the certificate in `{self.certificate}` cannot be used: each must be PEM, the key must be the"
                    f" certificate's, and `{self.variables}_KEY_PASSWORD` its password if it is encrypted"
                )
                raise self._unusable("KEY", self.key, what, error) from None
        return context

    def _unusable(self, file: str, path: Path | None, what: str, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"`{self.variables}_{file}_FILE`: `{path}` {what} ({type(error).__name__}).")

    def fault(self, servers: Iterable[tuple[str, int]]) -> str | None:
        """Return why the first of the servers that answers cannot be spoken to over TLS, or None.

        None is also returned for servers that do not answer at all: that is no certificate's fault.
        """
        context = self.context()
        for host, port in servers:
            try:
                with (
                    socket.create_connection((host, port), PROBE_SECONDS) as plain,
                    context.wrap_socket(plain, server_hostname=host) as connection,
                ):
                    _hear(connection)
            except ssl.SSLCertVerificationError as error:
                return self._of_server(f"{host}:{port}", error)
            except ssl.SSLError as error:
                if sentence := self._of_client(f"{host}:{port}", error):
                    return sentence
            except OSError:
                continue
            return None
        return None

    def _of_server(self, server: str, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code == _X509_EXPIRED:
            return f"The certificate of `{server}` has expired. Have it renewed on the server; keep the settings."
        if error.verify_code == _X509_NOT_YET_VALID:
            return f"The certificate of `{server}` is not valid yet. Compare this machine's clock with the server's."
        if error.verify_code in _X509_OTHER_NAME:
            return (
                f"The certificate of `{server}` is for another name. Write the server in `{self.address}` as its"
                " certificate has it, or have one issued for this name."
            )
        known = f"the authorities in `{self.ca}`" if self.ca else "the public authorities"
        return (
            f"The certificate of `{server}` is signed by none of {known}"
            f" ({error.verify_message}). Set `{self.variables}_CA_FILE` to the PEM file of the one that signed it."
        )

    def _of_client(self, server: str, error: ssl.SSLError) -> str | None:
        reason = error.reason or ""
        if "ALERT" not in reason or not any(word in reason for word in _REFUSED_CLIENT):
            return None  # a server that stops ends a handshake too
        shown = f"the certificate in `{self.certificate}`" if self.certificate else "a client without a certificate"
        return (
            f"`{server}` does not accept {shown}. Set `{self.variables}_CERTIFICATE_FILE` and"
            f" `{self.variables}_KEY_FILE` to a valid one of an authority that the server knows."
        )


def kafka_files(settings: Settings) -> TlsFiles:
    """Return the files of the connections to Kafka."""
    password = settings.kafka_ssl_key_password
    return TlsFiles(
        "KAFKA_SSL",
        "KAFKA_BOOTSTRAP_SERVERS",
        settings.kafka_ssl_ca_file,
        settings.kafka_ssl_certificate_file,
        settings.kafka_ssl_key_file,
        password.get_secret_value() if password else "",
    )


def registry_files(settings: Settings) -> TlsFiles:
    """Return what the registry is verified by."""
    return TlsFiles("SCHEMA_REGISTRY", "SCHEMA_REGISTRY_URL", settings.schema_registry_ca_file)


def kafka_fault(settings: Settings) -> str | None:
    """Return why no broker can be spoken to over TLS, or None: it can, none answers, or TLS is not asked for."""
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    return kafka_files(settings).fault(_servers(settings.kafka_bootstrap_servers))


def registry_fault(settings: Settings) -> str | None:
    """Return why the registry cannot be spoken to over TLS, or None."""
    url = urlsplit(settings.schema_registry_url)
    if url.scheme != "https":
        return None
    return registry_files(settings).fault([(url.hostname or "", url.port or 443)])


def _hear(connection: ssl.SSLSocket) -> None:
    # In TLS 1.3 a server judges the client's certificate after the handshake.
    connection.settimeout(PROBE_SECONDS / 4)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)


def _servers(bootstrap: str) -> Iterator[tuple[str, int]]:
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        if host and port.isdecimal():
            yield host.strip("[]"), int(port)
