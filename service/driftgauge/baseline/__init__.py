"""Fit, store and compare frozen baselines."""
