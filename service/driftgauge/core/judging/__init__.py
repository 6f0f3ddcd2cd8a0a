"""Judging: from the tally of a window to its verdict, by what clean windows have shown."""
