"""Tests of `driftgauge.baseline.segments`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from driftgauge.baseline.segments import (
    MAX_SEGMENT_VALUES,
    Members,
    SegmentChoice,
    check_members,
    choose_frequent,
    find_members,
    parse_choice,
    reference_segments,
)
from driftgauge.errors import BaselineError, InputError
from tests.builders.baselines import silent
from tests.builders.references import build_segment_arrays

LABELS = (
    {"country": "de", "device": "phone"},
    {"country": "fr"},
    {},
    {"country": "us", "device": "tv"},
    {"country": "de", "device": "tv"},
    {"country": "other"},
)


def members(**rows: list[int]) -> list[Members]:
    """Segments of 1,000 vectors by the key k, each with the given rows."""
    return [Members("k", value, np.isin(np.arange(1_000), numbers)) for value, numbers in rows.items()]


def test_parse_choice_returns_key_and_values() -> None:
    assert parse_choice("country=de,fr") == SegmentChoice("country", ("de", "fr"))
    assert parse_choice("a=b=c, d") == SegmentChoice("a", ("b=c", " d"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("country", "write a key and its values, such as country=de,fr"),
        ("=de", "write a key and its values"),
        ("country=", "write a key and its values"),
        ("country=de,,fr", "write a key and its values"),
        ("country=de,fr,de", "names a value twice"),
        ("country=de,other", "always counts the values not named; .* leave other out"),
    ],
)
def test_parse_choice_rejects_invalid_text_with_remedy(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_choice(text)


def test_frequent_values_are_chosen() -> None:
    rows = [{"country": ("fr", "de", "other")[row % 3], "user": str(row)} for row in range(2_400)]
    rows += [{"country": "us"}] * 639
    lines: list[str] = []
    assert choose_frequent(rows, 20, lines.append) == (SegmentChoice("country", ("de", "fr")),)
    assert lines == ["segments with 640 vectors or more: country=de,fr; --segment chooses others"]
    assert choose_frequent([{}], 20, lines.append) == ()
    many = [{"shop": str(row % 99)} for row in range(99 * 640)]
    assert (
        sum(len(choice.values) + 1 for choice in choose_frequent(many, 20, lines.append))
        == MAX_SEGMENT_VALUES
    )


def test_find_members_assigns_event_to_one_segment_per_key() -> None:
    members_found = find_members(
        LABELS, [SegmentChoice("country", ("fr", "de")), SegmentChoice("device", ("tv",))]
    )
    assert {member.name: np.flatnonzero(member.rows).tolist() for member in members_found} == {
        "country=fr": [1],
        "country=de": [0, 4],
        "country=other": [2, 3, 5],
        "device=tv": [3, 4],
        "device=other": [0, 1, 2, 5],
    }
    assert members_found[1].of(np.array([4, 1, 0])).rows.tolist() == [True, False, True]
    assert find_members(None, []) == ()


@pytest.mark.parametrize(
    ("labels", "choices", "fault"),
    [
        (
            LABELS,
            [SegmentChoice("k", ("a",)), SegmentChoice("k", ("b",))],
            "names a key twice; give all of its values",
        ),
        (
            LABELS,
            [SegmentChoice("k", tuple(map(str, range(64))))],
            r"names 65 segments, including other .* the maximum is 64",
        ),
        (LABELS, [SegmentChoice(str(key), ("a",)) for key in range(33)], "names 66 segments"),
        (None, [SegmentChoice("k", ("a",))], r"only events carry segments; fit on a \.jsonl"),
    ],
)
def test_find_members_rejects_unusable_choices(
    labels: Sequence[dict[str, str]] | None, choices: list[SegmentChoice], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        find_members(labels, choices)


@pytest.mark.parametrize(("clusters", "components", "needed"), [(20, 8, 100), (4, 32, 160)])
def test_check_members_needs_five_vectors_per_cluster_and_component(
    clusters: int, components: int, needed: int
) -> None:
    enough = members(a=list(range(needed)), other=list(range(needed, 1_000)))
    assert check_members(enough, clusters, components, silent) == tuple(enough)
    few = members(a=list(range(needed - 1)), b=[], c=list(range(needed)))
    with pytest.raises(
        BaselineError,
        match=rf"segment needs {needed} held-out vectors, .*: k=a {needed - 1}, k=b 0; leave them out",
    ):
        check_members(few, clusters, components, silent)


def test_check_members_leaves_out_small_other() -> None:
    lines: list[str] = []
    kept = check_members(members(a=list(range(100)), other=[100, 101]), 20, 8, lines.append)
    assert [member.value for member in kept] == ["a"]
    assert lines == [
        "segment k=other has 2 held-out vectors, fewer than 100: its events count only in the whole stream"
    ]


def measured(part: Members, coordinates: np.ndarray, progress: Callable[[str], None]) -> Any:
    ids, arrays = np.zeros(len(coordinates), np.intp), {part.name: build_segment_arrays()}
    return reference_segments([part], ids, coordinates, arrays, 2, progress)


def test_segment_of_one_component_has_covariance_and_one_without_variation_is_left_out() -> None:
    coordinates = np.random.default_rng(0).normal(size=(1_000, 4))
    (part, other) = members(a=list(range(500)), other=list(range(500)))
    (segment,) = measured(part, coordinates[:, :1], silent)
    assert (segment.covariance.shape, segment.counts.tolist()) == ((1, 1), [500, 0])
    coordinates[:, 3] = coordinates[:, 1]
    with pytest.raises(BaselineError, match=r"segment k=a do not vary along every .*; leave the segment out"):
        measured(part, coordinates, silent)
    lines: list[str] = []
    assert measured(other, coordinates, lines.append) == ()
    assert lines == [
        "the vectors of segment k=other do not vary along every component: "
        "its events count only in the whole stream"
    ]
