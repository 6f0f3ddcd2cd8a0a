"""Transactions that hang for ever, named and ended: `driftgauge kafka transactions`.

An operator's tool: ending a transaction needs the right to alter the cluster, which the service has not.
"""
