"""The generator of the rules, dashboards and manifests in deploy/."""
