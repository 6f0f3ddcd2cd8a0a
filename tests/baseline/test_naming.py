"""Tests of `driftgauge.baseline.naming`: names of clusters, and ids of examples."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.baseline.metadata import ClusterDescription
from driftgauge.baseline.naming import describe_clusters, report_names
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
        texts=texts,
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
        # Labels that differ in unprintable characters are one.
        (["a b", "a\nb", " a \x1b b\u202e", "c"], "a b, c"),
        # A name needs a tenth of the cluster.
        ([None] * 90 + ["a"] * 10, "a"),
        ([None] * 91 + ["a"] * 9, None),
        ([None] * 199 + ["a"], None),
        ([str(row % 100) for row in range(200)], None),
        ([None, "\n \x07"], None),
        (["word " * 40], "word " * 15 + "wo…"),
        (["猫" * 40], "猫" * 25 + "…"),
    ],
)
def test_dominant_labels_name_cluster(labels: list[str | None], name: str | None) -> None:
    assert names([0] * len(labels), labels=labels) == [name]


def test_held_out_vectors_alone_name_clusters() -> None:
    found = describe([0, 1], rows=[1, 3], labels=["x", "a", "x", "b"], event_ids=["x", "1", "x", "3"])
    assert [(each.name, each.example_ids) for each in found] == [("a", ("1",)), ("b", ("3",))]
    texts = ["xx", "aa", "bb", "xx"] * 12
    rows = [row for row, text in enumerate(texts) if text != "xx"]
    found = describe([int(texts[row] == "bb") for row in rows], rows=rows, texts=texts)
    assert [each.name for each in found] == ["aa", "bb"]


HOCKEY = [
    *["People said that the goalie of the hockey team saved the game"] * 20,
    *["The hockey game of the season, people said, and the team lost"] * 4,
]
CARS = [
    *["People said that the engine of this car is new"] * 20,
    *["A car with an engine, said people in 2024"] * 4,
]
EQUAL = " ".join(f"{first}{second}" for second in "dbac" for first in "bzkyfax")


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ([HOCKEY, CARS], ["game, hockey, team", "car, engine, new"]),
        ([[f"shared {word}"] * 12 for word in ("alpha", "beta", "gamma")], ["alpha", "beta", "gamma"]),
        # Repetition within one text does not count, nor words of a single text.
        (
            [["spam " * 50 + "good word", *["good word"] * 11], ["spam plain", *["plain"] * 11]],
            ["good, word", "plain"],
        ),
        (
            [[f"{word} {word}{'x' * row}" for row in range(1, 13)] for word in ("alpha", "beta")],
            ["alpha", "beta"],
        ),
        # A word of few clusters comes before one of more.
        (
            [[f"common mine{cluster}"] * 40 for cluster in range(2)] + [[f"other{n}"] * 40 for n in range(6)],
            ["mine0, common", "mine1, common"],
        ),
        ([[EQUAL] * 20, ["else"] * 20], ["aa, ab, ac"]),
        ([["the"], ["and"]], [None, None]),
        ([["12"], ["12"]], [None, None]),
        ([["uno"], ["due"]], [None, None]),
        ([[None], [None]], [None, None]),
    ],
)
def test_characteristic_words_name_cluster(
    clusters: list[list[str | None]], expected: list[str | None]
) -> None:
    ids = np.repeat(np.arange(len(clusters)), [len(texts) for texts in clusters])
    found = names(ids, texts=[text for texts in clusters for text in texts])
    assert found[: len(expected)] == expected


def random_texts(number: int, words: int, seed: int = 0) -> list[str]:
    """Return texts of words whose frequencies fall as in a language, by Zipf's law."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, words + 1)
    drawn = random.choice(words, (number, 15), p=shares / shares.sum())
    return [" ".join(f"word{'abcdefghij'[word % 10]}{word}" for word in text) for text in drawn.tolist()]


def test_texts_unrelated_to_clusters_name_none() -> None:
    assert names(np.arange(4_000) % 20, texts=random_texts(4_000, 5_000)) == [None] * 20


def test_words_of_few_texts_name_clusters_among_stop_words() -> None:
    """German texts, whose stop words are known to nobody, with the class named in 15 % of each cluster."""
    random = np.random.default_rng(0)
    stop = ("der", "die", "und", "nicht", "ist", "das", "ein", "auf", "mit", "sich")
    classes = ("hund", "katze", "pferd", "vogel")
    clusters = np.repeat(range(4), 500)
    texts = [
        " ".join([*random.choice(stop, 5), *([classes[cluster]] if random.random() < 0.15 else [])])
        for cluster in clusters
    ]
    assert names(clusters, texts=texts) == list(classes)


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


NAMED, UNNAMED = ClusterDescription(name="a"), ClusterDescription(example_ids=("1",))


@pytest.mark.parametrize(
    ("descriptions", "source", "has_ids", "lines"),
    [
        ((), None, False, []),
        ((NAMED, UNNAMED), "labels", True, ["1 of 2 clusters are named by labels"]),
        (
            (UNNAMED,),
            "labels",
            True,
            ["warning: no label covers a tenth .*: 0 of 1 clusters are named by labels"],
        ),
        ((UNNAMED,), "texts", True, ["warning: no word, .*: 0 of 1 clusters are named by texts"]),
        ((NAMED,), "labels", False, ["1 of 1 clusters are named by labels"]),
        ((ClusterDescription(),), None, True, ["warning: no cluster keeps examples: .*at most 64 bytes"]),
    ],
)
def test_report_says_how_many_clusters_are_named(
    descriptions: Sequence[ClusterDescription], source: str | None, has_ids: bool, lines: list[str]
) -> None:
    found: list[str] = []
    report_names(descriptions, found.append, source=source, has_ids=has_ids)
    assert len(found) == len(lines)
    assert all(re.match(line, each) for line, each in zip(lines, found, strict=True)), found


@settings(max_examples=examples(24))
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
