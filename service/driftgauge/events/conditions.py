"""The conditions of a configuration that a record must meet."""

from contextlib import suppress
from dataclasses import dataclass

from driftgauge.config.inputs import Condition
from driftgauge.config.paths import parse_path
from driftgauge.events.records import RawRecord
from driftgauge.events.sources import compile_source, to_text

__all__ = ["RecordCondition", "Unmet"]


@dataclass(frozen=True, slots=True)
class Unmet:
    """The condition of the configuration that filters a record out.

    Attributes:
        condition: The condition.
        found: The record's value; None if the record has none.
    """

    condition: Condition
    found: object


class RecordCondition:
    """A condition of the configuration, ready to be checked.

    Attributes:
        needs_value: The condition is on the decoded value.
        is_on_attribute: Of a CloudEvent, the condition is not on its data.
    """

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._get = compile_source(condition)
        self._values = frozenset(map(to_text, condition.values or condition.not_in or ()))
        self.needs_value = condition.path is not None or condition.record == "value"
        self.is_on_attribute = condition.path is not None and parse_path(condition.path)[0] != "data"

    def check(self, record: RawRecord, value: object) -> Unmet | None:
        """Return None if a record meets the condition. A value that is missing or no text is in no list.

        Raises:
            EventError: The value cannot be read.
        """
        found, is_listed = self._get(record, value), False
        with suppress(ValueError):
            is_listed = to_text(found) in self._values
        exists = self._condition.exists
        is_met = (
            is_listed == (self._condition.not_in is None) if exists is None else exists == (found is not None)
        )
        return None if is_met else Unmet(self._condition, found)
