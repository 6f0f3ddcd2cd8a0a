"""The samples of one scrape of /metrics."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scrape"]


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one scrape.

    Attributes:
        samples: The value of each series, by name and by its labels as sorted pairs.
    """

    samples: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]

    @classmethod
    def parse(cls, text: str) -> "Scrape":
        """Return the scrape whose exposition is `text`."""
        return cls(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def value(self, name: str, /, **labels: str) -> float | None:
        """Return the value of the series with exactly these labels; None without such a series."""
        return self.samples.get((name, tuple(sorted(labels.items()))))

    def outcomes(self) -> dict[str, int]:
        """Return the number of accepted events, and those of rejected records by reason."""
        numbers = Counter(accepted=int(self.total("driftgauge_events_total")))
        for (name, labels), value in self.samples.items():
            if name == "driftgauge_records_rejected_total":
                numbers[dict(labels)["reason"]] += int(value)
        return dict(numbers)

    def total(self, name: str, **labels: str | None) -> float:
        """Return the sum over the series that have at least these labels; None stands for any value."""
        wanted = {key: value for key, value in labels.items() if value is not None}.items()
        return sum(
            value
            for (series, pairs), value in self.samples.items()
            if series == name and wanted <= dict(pairs).items()
        )
