"""The roof: the platform as a Dagster asset graph, the only package that imports Dagster.

What is orchestrated lives below (producers, sink, spark_jobs); here is only when it runs, in which order, and what
a person sees of it.
"""
