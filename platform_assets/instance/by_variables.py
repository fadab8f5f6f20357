"""The instance that `dagster.yaml` names: one file for every installation, which variables make another one.

`DAGSTER_POSTGRES_URL` puts Dagster's storage into Postgres, `COMPUTE_LOGS_URI` the output of runs into a bucket. With
neither, both are files below DAGSTER_HOME. A value never gets into the instance's description, which Dagster hands to
its processes on command lines: it names the variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef, compute_logs_directory
from dagster._serdes import ConfigurableClassData

from platform_core.settings import Settings, settings

POSTGRES_URL = "DAGSTER_POSTGRES_URL"


class PlatformInstance(dg.DagsterInstance):
    """A Dagster instance whose defaults follow the variables; what `dagster.yaml` says goes before them."""

    @classmethod
    def config_schema(cls) -> dict[str, Any]:
        """Return the keys of `dagster.yaml` that only this class knows: none."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Return what is used where `dagster.yaml` says nothing.

        Args:
            base_dir: DAGSTER_HOME, or the temporary folder of a `dagster dev`.

        Raises:
            ConfigurationError: a variable has an illegal value.
        """
        configured = settings()
        defaults = dict(InstanceRef.config_defaults(base_dir))
        if configured.dagster_postgres_url is not None:
            defaults |= _postgres()
        if configured.compute_logs_uri is not None:
            defaults["compute_logs"] = _bucket_logs(configured, configured.compute_logs_uri, base_dir)
        return defaults


def _postgres() -> dict[str, ConfigurableClassData]:
    module, name, config = (
        "platform_assets.instance.postgres_storage",
        "PostgresStorage",
        yaml.dump({"postgres_url": {"env": POSTGRES_URL}}),
    )
    # As for any storage of `dagster.yaml`: who asks for a part of the storage gets it from the whole.
    part = yaml.dump({"module_name": module, "class_name": name, "config_yaml": config})
    legacy = {
        "run_storage": "LegacyRunStorage",
        "event_log_storage": "LegacyEventLogStorage",
        "schedule_storage": "LegacyScheduleStorage",
    }
    return {
        "storage": ConfigurableClassData(module, name, config),
        **{key: ConfigurableClassData("dagster._core.storage.legacy_storage", of, part) for key, of in legacy.items()},
    }


def _bucket_logs(configured: Settings, uri: str, base_dir: str) -> ConfigurableClassData:
    parts = urlsplit(uri)
    config = {
        "bucket": parts.netloc,
        "prefix": parts.path.strip("/") or "compute-logs",
        "local_dir": compute_logs_directory(base_dir),
        "region": configured.s3_region,
        **({"endpoint_url": configured.s3_endpoint_url} if configured.s3_endpoint_url else {}),
        # What a run that goes on has printed is seen from other hosts within this.
        "upload_interval": 30,
    }
    return ConfigurableClassData("platform_assets.instance.compute_logs", "BucketComputeLogs", yaml.dump(config))
