"""Backtests: the alarms that recorded events would have caused, evaluated against a known start of drift."""
