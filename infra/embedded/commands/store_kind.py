"""Where the lake of a platform on one machine is: in a folder, or in a bucket of an S3 server that is started too.

How a client reaches a bucket belongs to `platform_core.lake.store_access`, and the server to `services.object_store`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from infra.embedded.errors import StackError
from infra.embedded.stack import ALL_SERVICES, OBJECT_STORE

StoreKind = Literal["folder", "s3"]
KINDS: tuple[StoreKind, ...] = get_args(StoreKind)


def services_with(store: StoreKind) -> tuple[str, ...]:
    """Return the services of a platform whose lake is there."""
    return (OBJECT_STORE, *ALL_SERVICES) if store == "s3" else ALL_SERVICES


def store_of(root: Path, asked: StoreKind | None) -> StoreKind:
    """Return where the lake of a platform is that keeps its data between starts: where its first start put it.

    Args:
        root: The platform's folder, which may not exist yet.
        asked: What the command line says.

    Raises:
        StackError: it says another store than the first start did. Kafka has given the records out already, so the
            other lake would stay without them.
    """
    kept: StoreKind | None = None
    if (root / "stack.lock").exists():
        kept = "s3" if (root / OBJECT_STORE).exists() else "folder"
    if kept and asked and asked != kept:
        was, now = _named(kept), _named(asked)
        raise StackError(
            f"The platform in `{root}` has its lake in {was}, and STORE={asked} asks for {now}: leave STORE out, or"
            " remove that folder to begin again."
        )
    return kept or asked or "folder"


def _named(store: StoreKind) -> str:
    return "a bucket (STORE=s3)" if store == "s3" else "a folder (STORE=folder)"
