"""The asset checks: those of a date, which its run evaluates, and those that watch a whole domain.

What is compared is not Dagster's matter and belongs to `audit` and `platform_core.partitions`.
"""
