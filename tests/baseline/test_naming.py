"""Tests of `driftgauge.baseline.naming`: names of clusters, and ids of examples."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.baseline.metadata import ClusterDescription
from driftgauge.baseline.naming import describe_clusters
from driftgauge.baseline.texts import TextSample
from tests.examples import examples

ANY_TEXT = st.text(max_size=120) | st.sampled_from(
    ['<script>"x"</script>', "{{ .Labels }}", "a\nb", "\u202eabc", "\\", "\x00", " "]
)


def describe(
    clusters: Sequence[int],
    *,
    labels: Sequence[str | None] | None = None,
    texts: Sequence[str | None] | None = None,
    event_ids: Sequence[str | None] | None = None,
    distances: Sequence[float] | None = None,
    rows: Sequence[int] | None = None,
) -> tuple[ClusterDescription, ...]:
    """Describe the clusters of held-out vectors, by default of all vectors."""
    return describe_clusters(
        np.arange(len(clusters)) if rows is None else np.array(rows),
        np.array(clusters),
        np.array([0.0] * len(clusters) if distances is None else distances, np.float32),
        max(clusters) + 1,
        labels=labels,
        texts=None if texts is None else TextSample.of(texts),
        event_ids=event_ids,
    )


def names(*arguments: Sequence[int], **columns: Sequence[str | None]) -> list[str | None]:
    return [each.name for each in describe(*arguments, **columns)]


def label(**counts: int) -> list[str]:
    return [name for name, count in counts.items() for _ in range(count)]


def test_nothing_known_describes_nothing() -> None:
    assert describe([0, 1]) == ()


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (label(car=85, truck=15), "car"),
        (label(truck=30, car=70), "car, truck"),
        (label(a=40, b=30, c=20, d=10), "a, b, c"),
        (label(a=75, b=9, c=8, d=8), "a"),
        (label(b=50, a=50), "a, b"),
        (label(a=1), "a"),
    ],
)
def test_dominant_labels_name_cluster(labels: list[str], name: str) -> None:
    assert names([0] * len(labels), labels=labels) == [name]


def test_vectors_without_label_do_not_count() -> None:
    assert names([0] * 10 + [1] * 2, labels=[None] * 8 + ["a", "a", None, "\n \x07"]) == ["a", None]


def test_labels_that_differ_in_unprintable_characters_are_one() -> None:
    assert names([0] * 4, labels=["a b", "a\nb", " a \x1b b\u202e", "c"]) == ["a b, c"]


def test_long_name_is_shortened() -> None:
    (name,) = names([0], labels=["word " * 40])
    assert name == "word " * 15 + "word…"


def test_held_out_vectors_alone_name_clusters() -> None:
    found = describe([0, 1], rows=[1, 3], labels=["x", "a", "x", "b"], event_ids=["x", "1", "x", "3"])
    assert [(each.name, each.example_ids) for each in found] == [("a", ("1",)), ("b", ("3",))]
    found = describe([1, 1, 0, 0], rows=[5, 4, 2, 1], texts=["x x", "aa", "aa", "x x", "bb", "bb", "x x"])
    assert [each.name for each in found] == ["aa", "bb"]


def test_characteristic_words_name_cluster() -> None:
    texts = [
        *["The goalie of the hockey team saved the game"] * 8,
        *["The hockey game of the season, people said, and the team lost"] * 4,
        *["People said that the engine of this car is new"] * 8,
        *["A car with an engine, said people in 2024"] * 4,
    ]
    assert names([0] * 12 + [1] * 12, texts=texts) == ["game, hockey, team", "car, engine, new"]


def test_word_of_all_texts_names_no_cluster() -> None:
    texts = [f"shared {word}" for word in ("alpha", "beta", "gamma") for _ in range(5)]
    found = names([0] * 5 + [1] * 5 + [2] * 5, texts=texts)
    assert found == ["alpha", "beta", "gamma"]


def test_repetition_in_one_text_does_not_count() -> None:
    texts = ["spam " * 50 + "good word", "good word", "good word", "spam plain", "plain", "plain"]
    assert names([0] * 3 + [1] * 3, texts=texts) == ["good, word", "plain"]


def test_word_of_one_text_names_no_cluster() -> None:
    assert names([0, 0, 1, 1], texts=["alpha", "alpha typo", "beta", "beta"]) == ["alpha", "beta"]


@pytest.mark.parametrize("texts", [["the", "and"], ["12", "12"], ["uno", "due"], [None, None]])
def test_texts_without_shared_words_give_no_names(texts: list[str | None]) -> None:
    assert names([0, 1], texts=texts) == [None, None]


def test_examples_are_nearest_vectors() -> None:
    (found,) = describe(
        [0] * 9,
        distances=[8, 1, 2, 3, 4, 5, 6, 7, 0],
        event_ids=["far", "a", None, "x" * 65, "a", "b\n", "köln", "c", "d"],
    )
    assert found.example_ids == ("d", "a", "köln", "c", "far")
    assert found.name is None
    (found,) = describe([0] * 9, distances=range(9), event_ids=list("abcdefghi"))
    assert found.example_ids == tuple("abcde")


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(st.integers(0, 2), ANY_TEXT | st.none()), min_size=1, max_size=30))
def test_any_labels_texts_and_ids_give_valid_descriptions(rows: list[tuple[int, str | None]]) -> None:
    clusters, values = [cluster for cluster, _ in rows], [value for _, value in rows]
    # The model checks that names and ids are printable, short and not empty.
    for found in (
        describe(clusters, labels=values, event_ids=values),
        describe(clusters, texts=values),
    ):
        assert len(found) == max(clusters) + 1
        assert found == tuple(
            ClusterDescription.model_validate_json(each.model_dump_json()) for each in found
        )
