"""Dependent events, and drift that lasts: `python -m tests.bench.dependence texts|lasting`.

- `texts`: paragraphs of articles. Baseline and windows come from different articles, and all windows of a
  split from the same half of them. Streams are judged window by window.
- `lasting`: drift of several kinds that single windows find at a given rate, as a share of the events is
  changed, and the windows until the verdict is drift.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.embeddings import DATA, IMAGES, TEXTS, Array, Rows, Vectors, load, load_vectors
from tests.bench.judged import CLUSTERS, LEVEL, Stream, tally_each
from tests.bench.planted import FAR, Axes, correlate
from tests.bench.tables import mean_and_error, say_header, say_row
from tests.builders.baselines import fit
from tests.builders.clocks import DAY_MS, HOUR_MS
from tests.options import parse_options

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import Provenance
from driftgauge.core.judging.verdict import Verdict
from driftgauge.errors import BaselineError
from driftgauge.streams import to_reference

COUNT = 200  # events in a window
TEXT_SPLITS = 40  # a few splits decide: those whose articles differ most
WARM_UP = 60  # windows before those that are judged
MORE = 0.2  # of the events are of one topic instead of the others
# Events in the baseline's histogram, of 12.5 or 2.5 windows. All kinds are measured in the first.
SETTINGS = [(2_500, "1h"), (500, "1h"), (2_500, "1d"), (500, "1d")]


@dataclass(frozen=True)
class Articles:
    """Some articles.

    Attributes:
        rows: The rows of their paragraphs.
        articles: The article of each of these, (n,).
        topics: The topic of each, (n,).
    """

    rows: Rows
    articles: NDArray[np.int32]
    topics: NDArray[np.uint8]

    def of(self, articles: NDArray[np.int32]) -> "Articles":
        """Return those of some articles."""
        kept = np.isin(self.articles, articles)
        return Articles(self.rows[kept], self.articles[kept], self.topics[kept])

    def no_longer_than(self, other: "Articles") -> "Articles":
        """Return those of the articles that have no more paragraphs than the longest of others."""
        articles, sizes = np.unique(self.articles, return_counts=True)
        longest = np.unique(other.articles, return_counts=True)[1].max()
        return self.of(articles[sizes <= longest])

    def halves(self, random: np.random.Generator) -> tuple["Articles", "Articles"]:
        """Return two halves without an article in common."""
        order = random.permutation(np.unique(self.articles))
        one, other = np.array_split(order, 2)
        return self.of(one), self.of(other)

    def weights(self, topic: int | None) -> Array:
        """Return the probability of each paragraph; one topic may be more frequent by MORE."""
        weights = np.full(len(self.rows), 1 / len(self.rows))
        if topic is not None:
            own = self.topics == topic
            share = own.mean()
            weights *= np.where(own, (share + MORE) / share, (1 - share - MORE) / (1 - share))
        return weights

    def paragraphs(self, random: np.random.Generator, topic: int | None = None) -> Rows:
        """Draw a window of single paragraphs, without replacement."""
        return random.choice(self.rows, COUNT, replace=False, p=self.weights(topic))

    def whole(self, random: np.random.Generator, topic: int | None = None) -> Rows:
        """Draw a window of whole articles, the last of which may be cut."""
        articles, first, sizes = np.unique(self.articles, return_index=True, return_counts=True)
        weights = self.weights(topic)[first]
        order = random.choice(len(articles), len(articles), replace=False, p=weights / weights.sum())
        chosen = order[: int(np.searchsorted(sizes[order].cumsum(), COUNT)) + 1]
        return np.concatenate([self.rows[self.articles == article] for article in articles[chosen]])[:COUNT]


Draw = Callable[[np.random.Generator, int | None], Rows]
"""Draws the rows of a window; a topic may be more frequent."""


def fit_texts(vectors: Vectors, groups: Rows, number: int) -> Baseline:
    """Return a baseline with its groups, by the first seed that leaves no cluster empty."""
    # A cluster may lie in the articles of one half alone.
    for attempt in range(20):
        seed = number + TEXT_SPLITS * attempt
        with suppress(BaselineError):
            return fit(vectors, clusters=10, seed=seed, provenance=Provenance(groups=groups))
    message = f"no baseline of split {number} can be fitted"
    raise BaselineError(message)


@dataclass(frozen=True)
class Split:
    """A baseline of some articles, and the streams of others.

    Attributes:
        number: The number of the split.
        fitted: The articles of the baseline.
        live: The others.
        baseline: The baseline.
        tallies: The tally of each paragraph.
    """

    number: int
    fitted: Articles
    live: Articles
    baseline: Baseline
    tallies: NDArray[np.int64]

    def begin(self, warm_up: int, *, mixed: bool) -> Stream:
        """Begin a stream, whose windows mix articles or hold whole ones."""
        metadata = self.baseline.metadata.model_copy(update={"mixed_windows": mixed})
        return Stream(to_reference(replace(self.baseline, metadata=metadata)), self.tallies, HOUR_MS, warm_up)


def split_texts(folder: Path, splits: int) -> Iterator[Split]:
    """Yield splits of the articles."""
    (vectors,) = load_vectors(folder, TEXTS, "emb")
    articles, topics = load(folder, TEXTS, "doc", "topic")
    everything = Articles(np.arange(len(vectors)), articles, topics)
    for number in range(splits):
        fitted, live = everything.halves(np.random.default_rng([number, 26]))
        groups = np.unique(fitted.articles, return_inverse=True)[1]
        baseline = fit_texts(vectors[fitted.rows], groups, number)
        yield Split(number, fitted, live, baseline, tally_each(to_reference(baseline), vectors))


# Whether a topic is more frequent in the warm-up, and after it.
RUNS_OF = {"clean": (False, False), "drifted": (False, True), "drifted from the beginning": (True, True)}


def texts(folder: Path, splits: int) -> None:
    """Print the share of windows found, and of streams that do not fit the baseline."""
    rates: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for split in split_texts(folder, splits):
        random = np.random.default_rng([split.number, 27])
        live = split.live
        early, late = live.halves(random)
        cases: dict[str, tuple[Draw | None, Draw]] = {
            "paragraphs": (None, live.paragraphs),
            "whole articles": (None, live.whole),
            "whole articles, none longer than the baseline's": (
                None,
                live.no_longer_than(split.fitted).whole,
            ),
            "paragraphs, warm-up of the same articles": (live.paragraphs, live.paragraphs),
            "paragraphs, warm-up of other articles": (early.paragraphs, late.paragraphs),
            "whole articles, warm-up of the same": (live.whole, live.whole),
            "whole articles, warm-up of others": (early.whole, late.whole),
        }
        for name, (before, draw) in cases.items():
            for kind, topics in RUNS_OF.items():
                first, then = (split.number % 3 if drifts else None for drifts in topics)
                if before is None and first is not None:
                    continue
                stream = split.begin(WARM_UP if before else 0, mixed=name.startswith("paragraphs"))
                for _ in range(WARM_UP if before else 0):
                    stream.judge(before(random, first))
                results = [stream.judge(draw(random, then)) for _ in range(60)]
                found = np.mean([result.score.p_value < LEVEL for result in results if result.score])
                is_misfit = any(result.verdict is Verdict.MISFIT for result in results)
                rates.setdefault((name, kind), []).append((float(found), is_misfit))
    say_header("windows", "stream", "found [standard error]", "in the worst split", "a misfit")
    for (name, kind), values in rates.items():
        shares, misfits = map(list, zip(*values, strict=True))
        say_row(name, kind, mean_and_error(shares), f"{max(shares):.3f}", f"{np.mean(misfits):.2f}")


class Images:
    """A stream of images against a baseline of others, of which a share may be changed.

    Attributes:
        live: The rows of the stream's images.
    """

    def __init__(self, vectors: Vectors, number: int, count: int) -> None:
        """Split the images: `count` events in the baseline's histogram, and as many to fit on."""
        self._random, self._vectors = np.random.default_rng([number, 28]), vectors
        fitted, self.live = np.split(self._random.permutation(len(vectors)), [2 * count])
        self._reference = to_reference(fit(vectors[fitted], clusters=CLUSTERS, seed=number))
        self._tallies = tally_each(self._reference, vectors)

    def begin(self, size_ms: int, warm_up: int, changed: Vectors) -> Stream:
        """Begin a stream with its warm-up; changed are (N, d) what each vector may become."""
        tallies = np.concatenate([self._tallies, tally_each(self._reference, changed)])
        stream = Stream(self._reference, tallies, size_ms, warm_up)
        for _ in range(warm_up):
            stream.judge(self.draw(0.0))
        return stream

    def draw(self, share: float) -> Rows:
        """Draw a window of which this share is changed."""
        changed = self._random.random(COUNT) < share
        return self._random.choice(self.live, COUNT, replace=False) + len(self._vectors) * changed

    def share_found(self, stream: Stream, rate: float) -> float:
        """Return the share that single windows of a stream find at a rate, by stochastic approximation.

        Source: H. Robbins and S. Monro, A stochastic approximation method, Annals of Mathematical Statistics
        22, 1951.
        """
        share = 0.1
        # An error of 0.02 in the rate is left.
        for number in range(1, 601):
            score = stream.judge(self.draw(share)).score
            found = score is not None and score.p_value < LEVEL
            # The rate grows by about as much as the logarithm of the share.
            share *= np.exp((rate - found) / (number + 2))
        return share

    def windows_until_drift(self, stream: Stream, share: float) -> float:
        """Return the drifted windows until the verdict is drift; infinite if it never is."""
        stream.forget()
        return stream.judge_until_drift(self.draw(share) for _ in range(40))


Change = Callable[[int, Rows], Vectors]
"""Returns what each image may become, (N, d), by the number of a split and the rows of its stream."""


def kinds_of(folder: Path) -> tuple[Vectors, dict[str, Change]]:
    """Return the images, and their changes by the kind of drift."""
    vectors, blurred = load_vectors(folder, IMAGES, "test", "blurred")
    (labels,) = load(folder, IMAGES, "test_label")
    mean = vectors.mean(axis=0)
    own = vectors.astype(float)
    related = Axes(own).change(own, correlate).astype(np.float32)

    def of_a_class(number: int, live: Rows) -> Vectors:
        rows = live[labels[live] == number % 10]
        return vectors[np.random.default_rng(number).choice(rows, len(vectors))]

    return vectors, {
        "a class more frequent": of_a_class,
        "one image repeated": lambda _, live: np.broadcast_to(vectors[live[0]], vectors.shape),
        f"outliers x {FAR:g}": lambda *_: mean + (vectors - mean) * np.float32(FAR),
        "spread x 1.1": lambda *_: mean + (vectors - mean) * np.float32(1.1),
        "correlation 0.5": lambda *_: related,
        "blurred": lambda *_: blurred,
    }


def lasting(folder: Path, number_of_splits: int) -> None:
    """Print the windows until drift that lasts is the verdict, over runs and splits.

    Of each kind: the rate at which one window finds it, the share of the events that is changed, and the
    windows until 90 % of the runs are in drift, and 90 % of those of the worst split.
    """
    vectors, kinds = kinds_of(folder)
    sizes = {"1h": (HOUR_MS, 336), "1d": (DAY_MS, WARM_UP)}  # and the windows of their warm-ups
    say_header("drift", "windows", "ratio", "found by one", "share changed", "90 %", "worst split")
    for count, size in SETTINGS:
        splits = [Images(vectors, number, count) for number in range(number_of_splits)]
        for kind in kinds if (count, size) == SETTINGS[0] else list(kinds)[:1]:
            streams = [
                (split, split.begin(*sizes[size], kinds[kind](number, split.live)))
                for number, split in enumerate(splits)
            ]
            for rate in (0.7, 0.3):
                shares = [split.share_found(stream, rate) for split, stream in streams]
                until = np.array(
                    [
                        [split.windows_until_drift(stream, share) for _ in range(20)]
                        for (split, stream), share in zip(streams, shares, strict=True)
                    ]
                )
                say_row(
                    *(kind, size, f"{COUNT / count:.2g}", rate, f"{np.mean(shares):.3f}"),
                    *(f"{each:.0f}" for each in (ninth(until), max(map(ninth, until)))),
                )


def ninth(until: Array) -> float:
    """Return the windows until 90 % of the runs are in drift."""
    return float(np.quantile(until, 0.9, method="inverted_cdf"))


def main() -> None:
    parts = {"texts": (texts, TEXT_SPLITS), "lasting": (lasting, 8)}
    options = parse_options(__doc__, part=parts, data=DATA, splits=0)
    run, splits = parts[options.part]
    run(options.data, options.splits or splits)


if __name__ == "__main__":
    main()
