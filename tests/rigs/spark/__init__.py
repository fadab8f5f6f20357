"""Spark as tests run it: one server, and a cluster."""
