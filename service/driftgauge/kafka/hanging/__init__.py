"""Hanging transactions, found and ended: `driftgauge kafka transactions`.

This is an operator's tool: it needs the right to alter the cluster, which the service does not have.
"""
