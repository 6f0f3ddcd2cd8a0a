"""Which labels tell one deployment from another: every rule, link and query takes them from here."""

__all__ = ["SOURCE", "by"]

SOURCE = ("cluster", "namespace", "job")
"""Labels that a scrape or a central ruler adds; one that is absent everywhere does no harm."""


def by(*labels: str) -> str:
    """Return the source's labels and these, as PromQL lists them."""
    return ", ".join((*SOURCE, *labels))
