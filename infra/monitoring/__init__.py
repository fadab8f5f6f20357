"""What watches the platform: Prometheus' configuration and alert rules, Grafana's provisioning and dashboards.

What is measured belongs to the processes themselves (`sink.watching.metrics`, `producers.metrics`,
`platform_assets.metrics`); what each alert means, and what to do, is in docs/operations.md.
"""
