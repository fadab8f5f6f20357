"""The objects of the emulator's buckets, each write judged and carried out under one lock.

How a request names its conditions belongs to the two APIs; here a condition is a generation.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from tests.rigs.gcs import checksums


class RefusedError(Exception):
    """An answer that is no success.

    Args:
        status: HTTP's.
        reason: What both APIs say about it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class StoredObject:
    """One generation of an object."""

    name: str
    data: bytes
    generation: int
    updated: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The checksums of the data by their names in `x-goog-hash`."""
        found = {"crc32c": checksums.crc32c(self.data), "md5": checksums.md5(self.data)}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def etag(self) -> str:
        return f'"{self.generation}"'


@dataclass(frozen=True)
class Conditions:
    """What must be true of the object that is there; generation 0 is none."""

    generation: int | None = None
    not_generation: int | None = None

    def judge(self, present: StoredObject | None, missing: int = 412) -> None:
        """Refuse what does not hold.

        Raises:
            RefusedError: with 412, or 304 for a read of a generation that the client has.
        """
        generation = present.generation if present else 0
        if self.generation is not None and generation != self.generation:
            raise RefusedError(missing, "At least one of the pre-conditions you specified did not hold.")
        if self.not_generation is not None and generation == self.not_generation:
            raise RefusedError(304, "notModified")


ALWAYS = Conditions()


@dataclass(frozen=True)
class Page:
    """A part of a listing: objects, common prefixes, and from where the next part goes on."""

    objects: Sequence[StoredObject]
    prefixes: Sequence[str]
    next_token: str | None


class Objects:
    """All buckets.

    Args:
        buckets: Those that exist; no request makes one.
        page: Entries in a page, whatever a client asks for.

    Attributes:
        overwritten: How often each object was replaced by a write without a condition.
        rivals: Content of objects to store just before the next write of a name that ends so, once each: another
            writer, a moment earlier.
    """

    def __init__(self, buckets: Sequence[str], page: int) -> None:
        self._page = page
        self._lock = threading.Lock()
        self._buckets: dict[str, dict[str, StoredObject]] = {name: {} for name in buckets}
        self._generation = 1_700_000_000_000_000
        self.overwritten: Counter[str] = Counter()
        self.rivals: dict[str, bytes] = {}

    def bucket(self, name: str) -> dict[str, StoredObject]:
        """Return a bucket's objects by name.

        Raises:
            RefusedError: there is no such bucket.
        """
        if name not in self._buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        return self._buckets[name]

    def get(self, bucket: str, name: str, conditions: Conditions = ALWAYS) -> StoredObject:
        """Return an object."""
        present = self.bucket(bucket).get(name)
        if present is None:
            raise RefusedError(404, f"No such object: {bucket}/{name}")
        conditions.judge(present)
        return present

    def judge(self, bucket: str, name: str, conditions: Conditions) -> None:
        """Refuse early what `put` would refuse now."""
        conditions.judge(self.bucket(bucket).get(name))

    def put(
        self,
        bucket: str,
        name: str,
        data: bytes,
        conditions: Conditions = ALWAYS,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> StoredObject:
        """Store a new generation, if the conditions hold."""
        if not name or len(name.encode()) > 1024 or any(part in (".", "..") for part in name.split("/")):
            raise RefusedError(400, f"Not a name of an object: {name!r}")
        with self._lock:
            objects = self.bucket(bucket)
            for end in [end for end in self.rivals if name.endswith(end)]:
                self._store(objects, name, self.rivals.pop(end), {}, None)
            present = objects.get(name)
            conditions.judge(present)
            if present is not None and conditions.generation is None:
                self.overwritten[f"{bucket}/{name}"] += 1
            return self._store(objects, name, data, metadata or {}, content_type)

    def _store(
        self,
        objects: dict[str, StoredObject],
        name: str,
        data: bytes,
        metadata: Mapping[str, str],
        content_type: str | None,
    ) -> StoredObject:
        self._generation += 1
        kind = content_type or "application/octet-stream"
        objects[name] = StoredObject(name, data, self._generation, datetime.now(UTC), dict(metadata), kind)
        return objects[name]

    def delete(self, bucket: str, name: str, conditions: Conditions = ALWAYS) -> None:
        """Remove an object that is there."""
        with self._lock:
            objects = self.bucket(bucket)
            present = objects.get(name)
            if present is None:
                raise RefusedError(404, f"No such object: {bucket}/{name}")
            conditions.judge(present)
            del objects[name]

    def page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        first: str = "",
        end: str = "",
        token: str = "",
        limit: int | None = None,
        with_trailing: bool = False,
    ) -> Page:
        """List a page by name.

        Args:
            bucket: Its name.
            prefix: Of the names.
            delimiter: Names that have it after the prefix are listed as common prefixes.
            first: Only names from here on, itself included.
            end: Only names before this.
            token: Where the page before ended.
            limit: What the client wants at most.
            with_trailing: An object whose name is a common prefix is listed as well.
        """
        with self._lock:
            objects = dict(self.bucket(bucket))
        entries: dict[str, StoredObject | None] = {}
        for name in sorted(objects, key=str.encode):
            if not name.startswith(prefix) or name < first or (end and name >= end):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                common = prefix + rest.split(delimiter, 1)[0] + delimiter
                entries.setdefault(common, None)
                if with_trailing and name == common:
                    entries[common] = objects[name]
            else:
                entries[name] = objects[name]
        left = [name for name in entries if not token or name > token]
        shown = left[: min(self._page, limit or self._page)]
        return Page(
            objects=[found for name in shown if (found := entries[name]) is not None],
            prefixes=[name for name in shown if delimiter and name[len(prefix) :].endswith(delimiter)],
            next_token=shown[-1] if len(shown) < len(left) else None,
        )
