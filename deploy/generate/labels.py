"""The labels that tell deployments apart. Every rule, link and query uses them."""

__all__ = ["SOURCE", "by"]

SOURCE = ("cluster", "namespace", "job")
"""Labels that a scrape or a central ruler adds. A label that no series has changes no result."""


def by(*labels: str) -> str:
    """Return the source labels and the given labels as a PromQL list."""
    return ", ".join((*SOURCE, *labels))
