"""WINDOWS: partials to the changelog and window results, one transaction each commit interval."""
