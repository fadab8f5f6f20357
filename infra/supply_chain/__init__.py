"""What the platform is made of, and what is known against it: the bill of materials and the check of advisories.

Locking belongs to `requirements.lock`, `infra/docker/locks` and `infra/embedded/toolchain`; nothing is installed here.
"""
