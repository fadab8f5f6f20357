"""One date's way from Bronze to the warehouse: the claim, its lease, and the steps.

Nothing here knows Dagster; what the UI shows of a step belongs to `platform_assets.assets`.
"""
