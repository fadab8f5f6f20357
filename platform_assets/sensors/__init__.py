"""The sensors: what starts runs, and what reports checks and raises alerts.

What a sensor decides with is pure and belongs to `platform_core.partitions`; sending an alert belongs to `alerting`.
"""
