"""COUNT: events to partials, dead letters and offsets, one transaction each commit interval."""
