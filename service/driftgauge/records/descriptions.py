"""What window results say of a baseline beside its numbers: names, places and examples of clusters."""

from dataclasses import dataclass

__all__ = ["BaselineDescription"]


@dataclass(frozen=True, slots=True)
class BaselineDescription:
    """The description of a baseline.

    Attributes:
        created_ms: The time of its fit, milliseconds since the epoch.
        model_version: The version of the model of its vectors; None where it names none.
        names: The name of each cluster, k of them; None where it has none.
        positions: Each cluster's place along the two leading components, in standard deviations, k of them.
        example_ids: The ids of the events nearest to each centroid, k times any number.
    """

    created_ms: int
    model_version: str | None
    names: tuple[str | None, ...]
    positions: tuple[tuple[float, float], ...]
    example_ids: tuple[tuple[str, ...], ...]

    def label(self, cluster: int) -> str:
        """Return a cluster's number and name in words, such as "cluster 7 (truck, automobile)"."""
        name = self.names[cluster]
        return f"cluster {cluster}" if name is None else f"cluster {cluster} ({name})"
