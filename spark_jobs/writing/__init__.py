"""Silver, quarantine and Gold as Delta tables: whole dates, aggregates and few rows."""
