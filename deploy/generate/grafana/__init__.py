"""Grafana's dashboards, and the drift alerts as Grafana alert rules."""
