"""Statistics of a window against a baseline: divergence, mean shift, null distributions, power."""
