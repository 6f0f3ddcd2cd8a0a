"""The null distributions that the statistics' tests compute with; they know numbers, and no tallies."""
