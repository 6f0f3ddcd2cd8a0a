"""What in deploy/ follows from elsewhere: from the catalogue of metrics, the alerts, and one another."""
