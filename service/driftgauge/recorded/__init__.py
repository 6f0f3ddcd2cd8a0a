"""Recorded events through the same core, in one process: files of records, replays, backtests, plans."""
