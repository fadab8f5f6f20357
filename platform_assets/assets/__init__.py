"""The assets: their keys, what others write, what a run makes, and what Dagster is told of both.

What a date goes through belongs to `processing`.
"""
