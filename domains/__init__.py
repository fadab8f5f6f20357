"""What the platform is about: `domains.yaml` and one package a domain. No code belongs here."""
