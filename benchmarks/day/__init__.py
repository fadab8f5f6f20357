"""One day of events, Bronze to Gold: the platform's jobs on three engines, and a DuckDB program of the same work."""
