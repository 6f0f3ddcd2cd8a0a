"""Builders of the values that tests need, one definition for each."""
