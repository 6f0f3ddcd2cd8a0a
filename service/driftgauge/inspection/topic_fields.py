"""The fields of a topic's records, from which a mapping is proposed."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

from driftgauge.config.inputs import MAX_TEXT
from driftgauge.events.records import RawRecord, read_headers
from driftgauge.events.sources import to_text
from driftgauge.inspection.values import walk

__all__ = ["USUAL", "TopicField", "find_topic_fields"]

USUAL = 0.8
"""The least share of the vectors that must have a field that belongs to them: records may be malformed."""

# An output has its name in this share of the records at least; the others may have another output.
_OFTEN = 0.5
_ITEM = re.compile(r"\[(?:\*|name=[^\]]+)\]")


@dataclass(slots=True)
class TopicField:
    """A field of records.

    Attributes:
        source: Where it stands, as in a mapping.
        values: Its values other than null, each with the time of its record; one for each item of a list.
        records: How many records have it.
    """

    source: dict[str, str]
    values: list[tuple[int, object]] = field(default_factory=list)
    records: int = 0

    def __str__(self) -> str:
        ((kind, where),) = self.source.items()
        return where if kind == "path" else f"{kind} {where}"

    @property
    def letters(self) -> str:
        """The letters of its last name, after those of the name before if it says little."""
        *_, owner, last = [
            "",
            *(re.sub(r"[^a-z]", "", name) for name in re.split(r"[. ]", str(self).lower())),
        ]
        return owner + last if last in {"name", "version", "revision"} else last

    @property
    def list_path(self) -> str | None:
        """The path of the list of whose items it is a field; None if it is one of the record."""
        before, every, _ = self.source.get("path", "").partition("[*]")
        return before if every else None

    @property
    def is_past(self) -> bool:
        """Whether it holds the state before a change, or the inputs of a model's call."""
        return not {"before", "inputs"}.isdisjoint(re.split(r"\W", str(self)))

    def texts(self) -> list[str]:
        """Return its values that are short texts."""
        texts = []
        for _, value in self.values:
            with suppress(ValueError):
                texts.append(to_text(value))
        return [text for text in texts if len(text) <= MAX_TEXT]


def find_topic_fields(decoded: Sequence[tuple[RawRecord, object]]) -> list[TopicField]:
    """Return the fields of records that have a value."""
    fields: dict[str, TopicField] = {}
    unnamed = _find_unnamed([value for _, value in decoded])
    for record, value in decoded:
        found = [
            ({"path": path} if path else {"record": "value"}, each)
            for path, each in walk(value, unnamed=unnamed)
        ]
        found.append(({"record": "key"}, record.key()))
        # The attributes of a CloudEvent are fields of its value.
        headers = [header for header in read_headers(record) if not header[0].startswith("ce_")]
        found += [({"header": name}, each) for name, each in headers]
        known = set()
        for source, each in found:
            if each is not None:
                entry = fields.setdefault(str(source), TopicField(source))
                entry.values.append((record.timestamp()[1], each))
                entry.records += str(source) not in known
                known.add(str(source))
    return list(fields.values())


def _find_unnamed(values: Sequence[object]) -> set[str]:
    """Return the paths of lists of whose items no name is in half of the records, as of documents."""
    unnamed: set[str] = set()
    while True:
        lists: defaultdict[str, list[frozenset[str]]] = defaultdict(list)
        for value in values:
            names: defaultdict[str, set[str]] = defaultdict(set)
            for path, _ in walk(value, unnamed=unnamed):
                for step in _ITEM.finditer(path):
                    names[path[: step.start()]].add(step[0])
            for path, found in names.items():
                lists[path].append(frozenset(found))
        usual = {
            path: Counter(chain.from_iterable(found)).most_common(1)[0][1] / len(found)
            for path, found in lists.items()
        }
        if not (others := {path for path, share in usual.items() if share < _OFTEN} - unnamed):
            return unnamed
        # Paths of lists within these are others from now on.
        unnamed |= others
