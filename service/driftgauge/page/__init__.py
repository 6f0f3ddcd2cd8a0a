"""The page: what the window results say, for a person with a browser."""
