"""Telemetry of the service: metrics, health and logs."""
