"""The audit: the proof, stage by stage, that no record was lost, doubled or filtered without a reason.

Each stage is a module that compares two neighbouring layers; `run` puts them in order and `report` is what they
answer. No Dagster and no Spark here, so that a command line, a check and a test ask the same questions; how an
answer is read is in docs/operations.md.
"""
