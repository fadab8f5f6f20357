"""A table that its producer read and that is gone: one alert, the producer stays, and nothing is missed afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from platform_core.lake.alerts import AlertKind
from platform_kafka.topics import PIPELINE_ALERTS

PLACE = (
    "INSERT INTO orders (order_id, user_id, restaurant_id, city, payment_method, subtotal, delivery_fee, discount,"
    " total) VALUES (%s, 1, 1, 'x', 'card', 10, 1, 0, 11)"
)


def test_a_table_that_is_renamed_is_one_alert_and_its_rows_come_when_it_is_back(provisioned: Any) -> None:
    provisioned.run("shop-init", "--users", "30", "--restaurants", "4", "--menu-items", "3", "--cities", "2")
    shop = provisioned.connect().cursor()

    def alerts() -> list[dict[str, Any]]:
        found = [json.loads(message.value() or b"{}") for message in provisioned.messages(PIPELINE_ALERTS)]
        return [alert for alert in found if alert["kind"] == AlertKind.SOURCE_DOWN]

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 180
        while not condition():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.2)

    before = len(alerts())
    process = provisioned.command("orders", CDC_POLL_INTERVAL_SECONDS="0.2")
    try:
        shop.execute(PLACE, (1,))
        wait(lambda: len(provisioned.records("orders")) == 1)
        shop.execute("ALTER TABLE orders RENAME TO elsewhere")
        wait(lambda: len(alerts()) > before)
        shop.execute("ALTER TABLE elsewhere RENAME TO orders")
        shop.execute(PLACE, (2,))
        wait(lambda: {record["order_id"] for record in provisioned.records("orders")} == {1, 2})
    finally:
        process.terminate()
        process.communicate(timeout=60)
    [alert] = alerts()[before:]
    assert alert["domain"] == "orders" and 'relation "orders" does not exist' in alert["what"]
    assert process.returncode == 0
