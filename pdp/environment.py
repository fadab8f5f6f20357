"""The platform that a command talks to: settings, catalog, lake and partition_meta, made when first needed.

Where variables come from is decided here: the process's environment, a file that was named, or the file that a
platform on this machine leaves while it runs. What the variables mean belongs to `platform_core.settings`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.errors import ConfigurationError

if TYPE_CHECKING:
    from platform_core.domain.catalog import Catalog
    from platform_core.lake.lake import Lake
    from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta
    from platform_core.settings import Settings

LOCAL_PLATFORMS = ("up", "demo")


class Platform:
    """What commands work on; nothing is read before it is asked for."""

    @cached_property
    def settings(self) -> Settings:
        """The process's settings."""
        from platform_core.settings import settings

        return settings()

    @cached_property
    def catalog(self) -> Catalog:
        """The domains; each whose entry has a mistake is named, and left out."""
        from pdp import output
        from platform_core.domain.catalog import configured_catalog

        catalog = configured_catalog(self.settings)
        for name, error in catalog.broken.items():
            output.note(f"warning: domain `{name}` cannot run and is left out. {error}")
        return catalog

    @cached_property
    def lake(self) -> Lake:
        """The lake, whose store has been asked whether the variables are right."""
        from platform_core.lake.lake import Lake

        lake = Lake(self.settings)
        lake.store.check(writes=False)
        return lake

    @cached_property
    def producer_state(self) -> Path | Lake:
        """Where the producers' watermarks are, see `producers.watermark`."""
        from producers.watermark import state_of

        return self.lake if self.settings.state_in_lake else state_of(self.settings)

    @cached_property
    def partitions(self) -> DeltaPartitionMeta:
        """The partitions' states."""
        from platform_core.partitions.partition_meta_delta import DeltaPartitionMeta

        return DeltaPartitionMeta(self.lake)


def load(env_file: Path | None, environ: MutableMapping[str, str], root: Path | None = None) -> Path | None:
    """Add variables to the environment, from a file if there is one to take.

    Args:
        env_file: The file that was named; its variables replace those of the environment.
        environ: The environment to add to.
        root: Where platforms on this machine keep their files, `.platform` by default; asked only when `LAKE_URI` is
            not set, and what the environment has already stays.

    Returns:
        The file that was read.

    Raises:
        ConfigurationError: the named file is missing or has a line that is no assignment.
    """
    from platform_core.settings import REPOSITORY, settings

    if env_file is not None:
        if not env_file.is_file():
            raise ConfigurationError(
                f"`{env_file}` does not exist: `--env-file` must name a file of NAME='value' lines."
            )
        environ.update(parse(env_file))
        path: Path | None = env_file
    else:
        path = None if environ.get("LAKE_URI") else _running(root or REPOSITORY / ".platform")
        if path is not None:
            for name, value in parse(path).items():
                environ.setdefault(name, value)
    settings.cache_clear()
    return path


def parse(path: Path) -> dict[str, str]:
    """Return the variables of a file of NAME='value' lines; nothing in a value is replaced by another variable.

    Raises:
        ConfigurationError: a line is no assignment; its content is not shown, for it may be a secret.
    """
    from dotenv.parser import parse_stream

    variables = {}
    with path.open(encoding="utf-8") as lines:
        for binding in parse_stream(lines):
            if binding.error or (binding.key is not None and binding.value is None):
                raise ConfigurationError(f"`{path}`, line {binding.original.line}: not of the form NAME='value'.")
            if binding.key is not None:
                variables[binding.key] = binding.value or ""
    return variables


def _running(root: Path) -> Path | None:
    """Return the file of the platform that started last on this machine; it is there only while that runs."""
    files = [path for name in LOCAL_PLATFORMS if (path := root / name / "env").is_file()]
    return max(files, key=lambda path: path.stat().st_mtime, default=None)
