"""The frozen baseline: fitting it, and the one file that holds it."""
