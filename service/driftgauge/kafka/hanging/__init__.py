"""Hanging transactions, found and ended: `driftgauge kafka transactions`.

This is an operator's tool: ending a transaction needs the right to alter the cluster, unlike the service.
"""
