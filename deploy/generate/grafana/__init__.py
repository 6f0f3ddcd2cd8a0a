"""Grafana: two dashboards, and the alerts of drift as its own."""
