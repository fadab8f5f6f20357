"""What only the orchestrator and the lake know, as Prometheus metrics of the daemon's process.

Partition states, freshness, the audit, gaps of offsets and dead letters are here. What sink and producers count of
themselves belongs to `sink.watching.metrics` and `producers.metrics`; alert rules and dashboards belong to
`infra/monitoring`.
"""
