"""Alerts: `collect` finds what a person must be told, `channels` carry it, `dispatch` does so once per channel.

What an alert is, and the log of those that were raised, belongs to `platform_core.lake.alerts`. When it is looked for
belongs to `platform_assets.sensors.watch`.
"""
