"""Dagster's own instance: where its database and its logs are, and that one daemon drives it.

What it runs belongs to the modules beside this package; the limits of its queue and pools to `dagster.yaml`.
"""
