"""A run of maintenance whose host died: the domain's pool is free again after four hours, and not before."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._daemon.monitoring.run_monitoring import check_run_timeout

from platform_assets.definitions import build_defs
from platform_assets.jobs import MAINTENANCE_AT_MOST
from platform_core.domain.catalog import Catalog


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (MAINTENANCE_AT_MOST - timedelta(minutes=5), dg.DagsterRunStatus.STARTED),
        (MAINTENANCE_AT_MOST + timedelta(minutes=5), dg.DagsterRunStatus.FAILURE),
    ],
)
def test_its_run_ends_after_four_hours(catalog: Catalog, age: timedelta, status: dg.DagsterRunStatus) -> None:
    job = build_defs(catalog).resolve_job_def("maintenance_orders")
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = instance.create_run_for_job(job, tags=job.run_tags).run_id
        started = DagsterEvent(DagsterEventType.RUN_START.value, job.name)
        instance.report_dagster_event(started, run_id, timestamp=time.time() - age.total_seconds())
        [record] = instance.get_run_records()
        assert record.dagster_run.status is dg.DagsterRunStatus.STARTED
        assert record.dagster_run.run_op_concurrency is not None
        assert record.dagster_run.run_op_concurrency.all_pools == {"domain_orders"}
        # As the daemon does for each started run; nobody answers on the host that is gone.
        check_run_timeout(instance, record, logging.getLogger(__name__), default_timeout_seconds=0)
        ended = instance.get_run_by_id(run_id)
        assert ended is not None and ended.status is status
