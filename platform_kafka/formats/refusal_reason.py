"""Why a record was refused, whoever refused it: a producer before it was in its topic, or the sink that read it.

A new way in which a record can be wrong is a member here, and a row in docs/operations.md, which says what it means to
the person on call. How it is written belongs to `dead_letter_headers`.
"""

from __future__ import annotations

from enum import StrEnum


class RefusalReason(StrEnum):
    """The value of the header `dlq.error_class` and of the metrics' label `reason`, never renamed."""

    EMPTY_VALUE = "empty_value"
    TOO_LARGE = "too_large"
    MISSING_KEY = "missing_key"
    INVALID_WIRE_FORMAT = "invalid_wire_format"
    INVALID_UTF8 = "invalid_utf8"
    MALFORMED_JSON = "malformed_json"
    CONTRACT_VIOLATION = "contract_violation"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
