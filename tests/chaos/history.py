"""What each window must say in the light of those before, worked out with none of the service's code."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import NormalDist

from tests.chaos.results import PublishedRevision
from tests.chaos.truth import WINDOWS_MS, WindowKey
from tests.chaos.verdict import Check, part_of

YEAR_MS = 365.25 * 86_400_000
# Half of the default smallest drift.
LEAST_EXCESS = 0.005
LEAST_SHIFT = 0.025


def level_of(streams: Iterable[str]) -> float:
    """One false page a year over the windows of all streams and sizes."""
    return 1 / sum(YEAR_MS / size_ms for stream in streams for size_ms in WINDOWS_MS[stream].values())


Before = tuple[tuple[bool, ...], float]
"""Whether each of the two windows before was found, and the statistic of slow drift."""

NOTHING: Before = ((), 0.0)


@dataclass
class _Series:
    """The windows of one stream and size."""

    end_ms: int = 0
    before: Before = NOTHING
    judged_with: dict[WindowKey, Before] = field(default_factory=dict)

    def before_one_of(self, result: PublishedRevision) -> Before:
        """What a window is judged with; one that has no result, or no score, was not found."""
        recent, slow = self.before
        start_ms = result.key[2]
        missing = min((start_ms - self.end_ms) // (result.end_ms - start_ms), 2)
        return (*recent, *[False] * missing)[-2:], slow


def check_verdicts(results: Iterable[PublishedRevision], level: float) -> Check:
    """Every result says what it must by the windows that were complete before it, whoever closed them."""
    check = Check("verdicts follow from the windows before")
    series: defaultdict[tuple[str, str], _Series] = defaultdict(_Series)
    for result in sorted(results, key=lambda result: (result.written_ms, result.end_ms, result.revision)):
        document = result.document
        what = f"revision {result.revision} of {result.key}"
        is_incomplete = bool(document["incomplete"]) or document["incomplete_reason"] is not None
        if is_incomplete or document["p_value"] is None:
            verdict = "incomplete" if is_incomplete else "insufficient"
            said = document["verdict"], document["slow_drift"]
            check.compare(f"verdict and slow drift of {what}", said, (verdict, None))
            continue
        of_stream = series[result.key[:2]]
        enters = result.key not in of_stream.judged_with and result.end_ms > of_stream.end_ms
        before = of_stream.before_one_of(result) if enters else NOTHING
        recent, slow = of_stream.judged_with.setdefault(result.key, before)
        is_found = document["p_value"] < level and (
            document["js_excess"] >= LEAST_EXCESS or part_of(document, "mean_shift.excess") >= LEAST_SHIFT
        )
        limit = part_of(document, "slow_drift.limit")
        slow = min(max(0.0, slow + _evidence(document["p_value"]) - 0.5), limit + 3)
        said_slow = part_of(document, "slow_drift.statistic")
        check.compare(f"slow drift of {what}", round(said_slow, 9), round(slow, 9))
        verdict = _verdict((*recent, is_found), has_slow_drift=said_slow >= limit)
        # Whether events were enough for `ok` is another matter.
        said_verdict = "ok" if document["verdict"] == "insufficient" else document["verdict"]
        check.compare(f"verdict of {what}", said_verdict, verdict)
        if enters:
            of_stream.end_ms = result.end_ms
            of_stream.before = (*recent, is_found)[-2:], slow
    return check


def _evidence(p_value: float) -> float:
    """The normal quantile of 1 - p, within 4."""
    far = NormalDist().cdf(-4)
    return -NormalDist().inv_cdf(min(max(p_value, far), 1 - far))


def _verdict(found: tuple[bool, ...], *, has_slow_drift: bool) -> str:
    if sum(found) > 1:
        return "drift"
    return "warning" if found[-1] or has_slow_drift else "ok"
