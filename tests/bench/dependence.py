"""Dependent events, and drift that lasts: `python -m tests.bench.dependence texts|lasting`.

- `texts`: paragraphs of articles. Baseline and windows come from different articles, and all windows of a
  split from the same half of them. Streams are judged window by window.
- `lasting`: drift of several kinds that single windows find at a given rate, as a share of the events is
  changed, and the windows until the verdict is drift.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.embeddings import IMAGES, TEXTS, load, load_vectors, parser_with_data
from tests.bench.population import CLUSTERS, DAY_MS, HOUR_MS, Population, spec
from tests.bench.power import FAR, mean_and_error
from tests.output import say

from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import Provenance, fit_baseline
from driftgauge.core.counting.tally import Tally
from driftgauge.core.judging.judge import Judgement, WindowJudge
from driftgauge.core.judging.verdict import Verdict, VerdictMemory
from driftgauge.core.reference import Reference
from driftgauge.core.statistics import registry
from driftgauge.core.window import Window
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.errors import BaselineError
from driftgauge.streams import to_reference

COUNT = 200  # events in a window
LEVEL = 0.01  # of a window, by its combined p-value
SPLITS = 8
TEXT_SPLITS = 40  # a few splits decide: those whose articles differ most
WINDOWS = 60  # judged in each split
WARM_UP = 60  # windows before them
TOPICS = 3
TEXT_CLUSTERS = 10
ATTEMPTS = 20  # a cluster may lie in the articles of one half alone
SMALLEST = {each.name: each.smallest for each in registry.STATISTICS}
MORE = 0.2  # of the events are of one topic instead of the others

SINGLE = (0.7, 0.3)  # the rate at which single windows find drift that lasts, at LEVEL
RUNS = 20  # of each split
LASTING = 40  # windows of drift in each run
BASELINES = (2_500, 500)  # events in the baseline's histogram: 12.5 and 2.5 windows
SEARCH = 600  # windows in the search for the share of drift: an error of 0.02 in the rate is left
SIZES = {"1h": (HOUR_MS, 336), "1d": (DAY_MS, WARM_UP)}  # and the windows of their warm-ups
CORRELATION = 0.5  # of the second principal coordinate with the first
SETTINGS = [(count, size) for size in SIZES for count in BASELINES]  # all kinds are measured in the first

Rows = NDArray[np.intp]
"""The rows of a window's events."""


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

    def weights(self, topic: int | None) -> NDArray[np.float64]:
        """Return the probability of each paragraph, where one topic may be more frequent by MORE."""
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


class Stream:
    """A stream that is judged window by window against a baseline."""

    def __init__(self, reference: Reference, tallies: NDArray[np.int64], size_ms: int, warm_up: int) -> None:
        """Begin a stream.

        Args:
            reference: The baseline.
            tallies: The tally of each vector, which windows add.
            size_ms: The size of the windows, ms.
            warm_up: The number of windows that are declared clean.
        """
        self._reference, self._tallies, self._size_ms = reference, tallies, size_ms
        own = spec(reference, size_ms)
        interval = (0, warm_up * size_ms) if warm_up else None
        self._spec = replace(own, alarm=replace(own.alarm, warm_up=interval))
        self._state = StreamState("bench")
        self._judge = WindowJudge(self._spec, self._state, lambda *_: ())
        self._number = 0

    def forget(self) -> None:
        """Forget the windows after the warm-up."""
        key = self._reference.key
        history = self._state.histories[self._size_ms, key]
        self._state.remember(self._size_ms, key, replace(history, memory=VerdictMemory()))

    def judge(self, rows: Rows) -> Judgement:
        """Judge the next window."""
        window = Window(self._size_ms, self._number * self._size_ms)
        self._number += 1
        tally = Tally(self._tallies[rows].sum(axis=0), registry.fields_of(self._reference))
        return self._judge.judge(window, tally, {}, self._reference, None, is_incomplete=False)


def fit_texts(vectors: NDArray[np.float32], groups: Rows, number: int) -> Baseline:
    """Return a baseline with its groups, by the first seed that leaves no cluster empty."""
    for attempt in range(ATTEMPTS):
        with suppress(BaselineError):
            return fit_baseline(
                vectors,
                stream="bench",
                clusters=TEXT_CLUSTERS,
                seed=number + TEXT_SPLITS * attempt,
                created_ms=0,
                progress=lambda _: None,
                provenance=Provenance(groups=groups),
            )
    message = f"no baseline of split {number} can be fitted"
    raise BaselineError(message)


def baselines(folder: Path) -> Iterator[tuple[int, Articles, Articles, Callable[..., Stream]]]:
    """Yield the number of each split, its fitted and live articles, and what begins a stream."""
    (vectors,) = load_vectors(folder, TEXTS, "emb")
    articles, topics = load(folder, TEXTS, "doc", "topic")
    everything = Articles(np.arange(len(vectors)), articles, topics)
    for number in range(TEXT_SPLITS):
        fitted, live = everything.halves(np.random.default_rng([number, 26]))
        groups = np.unique(fitted.articles, return_inverse=True)[1]
        baseline = fit_texts(vectors[fitted.rows], groups, number)
        centroids = baseline.centroids
        tallies = Population(vectors, centroids.assign(vectors), centroids).tallies(to_reference(baseline))

        def begin(
            warm_up: int,
            *,
            mixed: bool,
            baseline: Baseline = baseline,
            tallies: NDArray[np.int64] = tallies,
        ) -> Stream:
            metadata = baseline.metadata.model_copy(update={"mixed_windows": mixed})
            return Stream(to_reference(replace(baseline, metadata=metadata)), tallies, HOUR_MS, warm_up)

        yield number, fitted, live, begin


# The topic that is more frequent in the warm-up and after it.
RUNS_OF = {"clean": (False, False), "drifts": (False, True), "begins drifted": (True, True)}


def texts(folder: Path) -> None:
    """Print the share of windows found, of the verdict ok, and of streams that do not fit the baseline."""
    rates: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for number, fitted, live, begin in baselines(folder):
        random = np.random.default_rng([number, 27])
        early, late = live.halves(random)
        cases: dict[str, tuple[Draw | None, Draw]] = {
            "paragraphs": (None, live.paragraphs),
            "whole articles": (None, live.whole),
            "whole articles, none longer than the baseline's": (None, live.no_longer_than(fitted).whole),
            "paragraphs, warm-up of the same articles": (live.paragraphs, live.paragraphs),
            "paragraphs, warm-up of other articles": (early.paragraphs, late.paragraphs),
            "whole articles, warm-up of the same": (live.whole, live.whole),
            "whole articles, warm-up of others": (early.whole, late.whole),
        }
        for name, (before, draw) in cases.items():
            for kind, topics in RUNS_OF.items():
                first, then = (number % TOPICS if drifts else None for drifts in topics)
                if before is None and first is not None:
                    continue
                stream = begin(0 if before is None else WARM_UP, mixed=name.startswith("paragraphs"))
                if before is not None:
                    for _ in range(WARM_UP):
                        stream.judge(before(random, first))
                results = [stream.judge(draw(random, then)) for _ in range(WINDOWS)]
                p_values = np.array([result.score.p_value for result in results if result.score])
                verdicts = [result.verdict for result in results]
                # The page shows a stream as ok only where its windows can see the smallest drift.
                green = [
                    result.verdict is Verdict.OK
                    and result.score is not None
                    and all(size <= SMALLEST[name] for name, size in result.score.detectable.items())
                    for result in results
                ]
                rates.setdefault((name, kind), []).append(
                    (
                        float((p_values < LEVEL).mean()),
                        verdicts.count(Verdict.OK) / WINDOWS,
                        float(np.mean(green)),
                        float(Verdict.MISFIT in verdicts),
                    )
                )
    say("| windows | | found [standard error] | in the worst split | ok | green | streams with a misfit |")
    say("|---" * 7 + "|")
    for (name, kind), values in rates.items():
        found, ok, green, misfit = map(list, zip(*values, strict=True))
        say(
            f"| {name} | {kind} | {mean_and_error(found)} | {max(found):.3f} | {mean_and_error(ok)} "
            f"| {np.mean(green):.3f} | {np.mean(misfit):.2f} |"
        )


class Images:
    """A stream of images against a baseline of others, of which a share may be changed.

    Attributes:
        live: The rows of the stream's images.
    """

    def __init__(self, vectors: NDArray[np.float32], number: int, count: int) -> None:
        """Split the images: `count` events in the baseline's histogram, and as many to fit on."""
        self._random, self._vectors = np.random.default_rng([number, 28]), vectors
        fitted, self.live = np.split(self._random.permutation(len(vectors)), [2 * count])
        baseline = fit_baseline(
            vectors[fitted],
            stream="bench",
            clusters=CLUSTERS,
            seed=number,
            created_ms=0,
            progress=lambda _: None,
        )
        self._reference = to_reference(baseline)
        self._tallies = self._tally(vectors)

    def _tally(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        centroids = self._reference.centroids
        return Population(vectors, centroids.assign(vectors), centroids).tallies(self._reference)

    def begin(self, size_ms: int, warm_up: int, changed: NDArray[np.float32]) -> Stream:
        """Begin a stream with its warm-up; changed are (N, d) what each vector may become."""
        tallies = np.concatenate([self._tallies, self._tally(changed)])
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
        for number in range(1, SEARCH + 1):
            score = stream.judge(self.draw(share)).score
            found = score is not None and score.p_value < LEVEL
            # The rate grows by about as much as the logarithm of the share.
            share *= np.exp((rate - found) / (number + 2))
        return share

    def windows_until_drift(self, stream: Stream, share: float) -> int:
        """Return the drifted windows until the verdict is drift; LASTING + 1: never."""
        stream.forget()
        verdicts = (stream.judge(self.draw(share)).verdict for _ in range(LASTING))
        return next((number for number, each in enumerate(verdicts, 1) if each is Verdict.DRIFT), LASTING + 1)


Change = Callable[[int, Rows], NDArray[np.float32]]
"""Returns what each image may become, (N, d), by the number of a split and the rows of its stream."""


def correlated(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return principal coordinates, (N, d), with the second correlated with the first."""
    changed, deviations = vectors.copy(), vectors.std(axis=0)
    first, second = (vectors / deviations)[:, :2].T
    changed[:, 1] = (CORRELATION * first + np.sqrt(1 - CORRELATION**2) * second) * deviations[1]
    return changed


def kinds_of(folder: Path) -> tuple[NDArray[np.float32], dict[str, Change]]:
    """Return the images, and their changes by the kind of drift."""
    vectors, blurred = load_vectors(folder, IMAGES, "test", "blurred")
    (labels,) = load(folder, IMAGES, "test_label")
    mean = vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    related = (mean + correlated((vectors - mean) @ axes.T) @ axes).astype(np.float32)

    def of_a_class(number: int, live: Rows) -> NDArray[np.float32]:
        own = live[labels[live] == number % 10]
        return vectors[np.random.default_rng(number).choice(own, len(vectors))]

    return vectors, {
        "a class more frequent": of_a_class,
        "one image repeated": lambda _, live: np.broadcast_to(vectors[live[0]], vectors.shape),
        f"outliers x {FAR:g}": lambda *_: mean + (vectors - mean) * np.float32(FAR),
        "spread x 1.1": lambda *_: mean + (vectors - mean) * np.float32(1.1),
        f"correlation {CORRELATION}": lambda *_: related,
        "blurred": lambda *_: blurred,
    }


def lasting(folder: Path) -> None:
    """Print the windows until drift that lasts is the verdict, over runs and splits.

    Of each kind: the rate at which one window finds it, the share of the events that is changed, the windows
    until half and 90 % of the runs are in drift and those of the worst split, and the runs that never are.
    """
    vectors, kinds = kinds_of(folder)
    say(
        "| drift | windows | n/m | found by one | share | half | 90 % | worst split | never |\n"
        + "|---" * 9
        + "|"
    )
    for count, size in SETTINGS:
        splits = [Images(vectors, number, count) for number in range(SPLITS)]
        for kind in kinds if (count, size) == SETTINGS[0] else list(kinds)[:1]:
            streams = [
                (split, split.begin(*SIZES[size], kinds[kind](number, split.live)))
                for number, split in enumerate(splits)
            ]
            for rate in SINGLE:
                shares = [split.share_found(stream, rate) for split, stream in streams]
                until = np.array(
                    [
                        [split.windows_until_drift(stream, share) for _ in range(RUNS)]
                        for (split, stream), share in zip(streams, shares, strict=True)
                    ]
                )
                say(
                    f"| {kind} | {size} | {COUNT / count:.2g} | {rate} | {np.mean(shares):.3f} | "
                    f"{np.median(until):.0f} | {np.quantile(until, 0.9):.0f} | "
                    f"{np.quantile(until, 0.9, axis=1).max():.0f} | {(until > LASTING).mean():.2f} |"
                )


def main() -> None:
    parser = parser_with_data(__doc__)
    parser.add_argument("part", choices=["texts", "lasting"])
    options = parser.parse_args()
    start = time.perf_counter()
    (texts if options.part == "texts" else lasting)(options.data)
    say(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
