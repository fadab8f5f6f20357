"""Postgres tables as sources: change capture, increments and snapshots, and the fence that all polling stands behind.

Add here what asks the source database. Which domain has which source is its entry's `source`; sending a record belongs
to `producers.delivery`.
"""
