"""A bucket of Google Cloud Storage, as each client takes it.

What every store has in common belongs to `store_access`.
"""

from __future__ import annotations

import pyarrow.fs as pafs

from platform_core.lake.store_access import StoreAccess


class GcsBucket(StoreAccess):
    """The bucket of a gs:// lake, with ambient credentials."""

    def filesystem(self) -> pafs.FileSystem:
        """Return the file system of pyarrow."""
        return pafs.GcsFileSystem()
