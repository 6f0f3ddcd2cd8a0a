"""What window results say of a baseline beside its numbers: names, places and examples of clusters."""

from dataclasses import dataclass

__all__ = ["BaselineDescription", "BaselineExamples"]


@dataclass(frozen=True, slots=True)
class BaselineExamples:
    """Some events of a baseline.

    Attributes:
        ids: Their ids.
        texts: The beginnings of their texts; empty if the baseline holds none.
    """

    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaselineDescription:
    """The description of a baseline.

    Attributes:
        created_ms: The time of its fit, milliseconds since the epoch.
        model_version: The version of the model of its vectors; None if it names none.
        names: The name of each cluster, k of them; None if it has none.
        positions: Each cluster's place along the two leading components, in standard deviations, k of them.
        examples: The events nearest to each centroid, k times any number.
        farthest: The events farthest beyond the radius of their cluster.
    """

    created_ms: int
    model_version: str | None
    names: tuple[str | None, ...]
    positions: tuple[tuple[float, float], ...]
    examples: tuple[BaselineExamples, ...]
    farthest: BaselineExamples = BaselineExamples()

    def label(self, cluster: int) -> str:
        """Return a cluster's number and name in words, such as "cluster 7 (truck, automobile)"."""
        name = self.names[cluster]
        return f"cluster {cluster}" if name is None else f"cluster {cluster} ({name})"
