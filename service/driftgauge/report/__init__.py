"""The report: the page of one stream as a file, for a ticket."""
