"""The assets: their keys, what others write, what a run makes, and what is reported to Dagster of both.

What a date goes through belongs to `processing`.
"""
