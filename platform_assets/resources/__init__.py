"""Dagster resources: thin wrappers that turn `Settings` into connections.

A heavy library is imported inside the method that needs it: a code location that only lists assets must not pay
for Spark and Snowflake (7-10 s of CPU, paid again by every run worker).
"""
