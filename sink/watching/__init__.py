"""What a person or a monitor sees of the sink and asks of it: metrics, health, alerts, flushes on request.

Nothing here decides about a record; the loop reports to it.
"""
