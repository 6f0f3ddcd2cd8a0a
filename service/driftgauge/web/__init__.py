"""The HTTP server: connections within limits, TLS, logins, and the endpoints beside the page."""
