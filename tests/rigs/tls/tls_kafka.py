"""A broker that also listens over TLS: with passwords, with certificates, and with a certificate that has expired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.embedded.processes.ports import LOOPBACK, free_ports
from infra.embedded.services.kafka import Kafka
from infra.embedded.services.kafka_node import ADMIN, APP, KafkaNode, logins
from tests.rigs.tls.certificates import Authority


class TlsKafka(Kafka):
    """The platform's broker; `env()` has the address of the listener with TLS and passwords.

    Args:
        authority: Signs its certificates, and those of clients that it lets in.
    """

    def __init__(self, root: Path, authority: Authority, **options: Any) -> None:
        super().__init__(root, **options)
        self.authority = authority
        self._tls_ports = dict(zip(("tls", "mutual", "expired"), free_ports(3), strict=True))
        self._keystores = {
            "tls": authority.keystore("broker"),
            "mutual": authority.keystore("broker-of-clients-with-certificates"),
            "expired": authority.keystore("expired-broker", days=-1),
        }

    def address(self, listener: str) -> str:
        """Return where a listener is: `tls`, `mutual` or `expired`."""
        return f"{LOOPBACK}:{self._tls_ports[listener]}"

    def env(self) -> dict[str, str]:
        """Return the clients' settings, over TLS."""
        return {
            **super().env(),
            "KAFKA_BOOTSTRAP_SERVERS": self.address("tls"),
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CA_FILE": str(self.authority.file),
        }

    def _properties(self, node: KafkaNode) -> str:
        lines = dict(line.split("=", 1) for line in super()._properties(node).splitlines())
        for name, protocol in (("tls", "SASL_SSL"), ("mutual", "SSL"), ("expired", "SASL_SSL")):
            listener, prefix = f",{name.upper()}://{self.address(name)}", f"listener.name.{name}."
            lines["listeners"] += listener
            lines["advertised.listeners"] += listener
            lines["listener.security.protocol.map"] += f",{name.upper()}:{protocol}"
            lines[f"{prefix}ssl.keystore.type"] = "PEM"
            lines[f"{prefix}ssl.keystore.location"] = str(self._keystores[name])
            if protocol == "SSL":
                lines[f"{prefix}ssl.truststore.type"] = "PEM"
                lines[f"{prefix}ssl.truststore.location"] = str(self.authority.file)
                lines[f"{prefix}ssl.client.auth"] = "required"
                lines[f"{prefix}ssl.principal.mapping.rules"] = "RULE:^CN=([^,]*).*$/$1/"
            else:
                lines[f"{prefix}sasl.enabled.mechanisms"] = "PLAIN"
                lines[f"{prefix}plain.sasl.jaas.config"] = logins(APP, ADMIN)
        return "".join(f"{name}={value}\n" for name, value in lines.items())
