"""Spark and Sail as child processes: the Connect server, a cluster with its history, the properties of each."""
