"""Alerts: `collect` derives them from states and runs, `channels` carry them, `dispatch` sends each once per channel.

Those that producers and the sink have posted are read by `posted_alerts`. What an alert is, and the log of those that
were raised, belongs to `platform_core.lake.alerts`. When it is looked for belongs to `platform_assets.sensors.watch`.
"""
