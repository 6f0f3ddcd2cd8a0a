"""The statistics, their kinds of drift and their numbers in words, for people; the core knows none of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from driftgauge.core.statistics import registry

__all__ = ["WORDS", "StatisticWords", "list_kinds", "words_of_kind"]


@dataclass(frozen=True, slots=True)
class StatisticWords:
    """A statistic in words.

    Attributes:
        title: What its numbers are headed with.
        text: What the number that charts show says, in a sentence.
        smallest: What the smallest drift worth finding is a size of, as a sentence.
        sentence: What happened to the events if its kind names the drift, such as "an item is repeated".
        advice: What to look for then, as a sentence.
        numbers: Unit and meaning of each of its numbers in a result, by name.
        is_share: The number that charts show is a share, in per cent.
        by_sign: What happened if this number is above 0, and if it is below; empty if it has no sign.
    """

    title: str
    text: str
    smallest: str
    sentence: str
    advice: str
    numbers: Mapping[str, tuple[str, str]]
    is_share: bool = False
    by_sign: tuple[str, ...] = ()

    def describe(self, value: float | None) -> str:
        """Return what happened to the events, by the number that charts show; None if it has none."""
        return self.by_sign[value < 0] if self.by_sign and value else self.sentence


WORDS: dict[str, StatisticWords] = {
    "js_divergence": StatisticWords(
        title="Divergence",
        text="How much the shares of the clusters differ from the baseline's, 0 to 1.",
        smallest="Base-2 Jensen-Shannon divergence; 0.01 is a distance of 0.1.",
        sentence="the clusters' shares changed",
        advice="Look at events of the clusters that gained: which inputs are they?",
        numbers={
            "js_divergence": (
                "none, 0 to 1",
                "Jensen-Shannon divergence, base 2, between window and baseline; not its square root.",
            ),
            "js_distance": ("none, 0 to 1", "Jensen-Shannon distance, the square root of the divergence."),
            "noise_floor": (
                "none, 0 to 1",
                "Expected Jensen-Shannon divergence of a window with this event count and no drift.",
            ),
            "js_excess": (
                "none, -1 to 1",
                "The divergence minus the noise floor. Negative values are below the noise.",
            ),
            "js_p_value": (
                "probability",
                "p-value of the divergence: the probability of a divergence this large without drift.",
            ),
        },
    ),
    "mean_shift": StatisticWords(
        title="Mean shift",
        text="How far the events moved in one direction, less what noise makes.",
        smallest="Squared Mahalanobis length of the shift of the mean.",
        sentence="inputs moved together, as after a camera, preprocessing or model change",
        advice="Look for what moves many inputs at once: preprocessing, a camera, a new model version.",
        numbers={
            "mean_shift_t2": (
                "none, 0 or more",
                "Hotelling's T2 of the mean shift along the baseline's leading components.",
            ),
            "mean_shift_excess": (
                "squared standard deviations",
                "Size of the mean shift: its squared Mahalanobis length minus the expected value without"
                " drift. It does not depend on the event count.",
            ),
            "mean_shift_p_value": (
                "probability",
                "p-value of T2: the probability of a T2 this large without drift.",
            ),
            "centroid_distance": (
                "the vectors' own unit",
                "Length of the mean shift along the baseline's leading components.",
            ),
            "centroid_p_value": (
                "probability",
                "p-value of the centroid distance: the probability of a distance this long without drift.",
            ),
        },
    ),
    "novelty": StatisticWords(
        title="Novelty",
        text="The share of events where the baseline has none, less the expected one.",
        smallest="Share of events beyond the radius of their cluster, above that of clean windows.",
        sentence="some events lie where the baseline has none",
        advice="Log some events far from every cluster, and look at them; clusters that gained may be noise.",
        numbers={
            "novelty_ratio": (
                "ratio, 0 to 1",
                "Share of the events beyond the radius of their cluster, within which 99 % of the baseline's"
                " vectors lie. About 0.01 without drift.",
            ),
            "novelty_excess_ratio": (
                "ratio, -1 to 1",
                "That share minus its expectation without drift.",
            ),
            "novelty_p_value": (
                "probability",
                "Combined p-value of the novelty of the whole window and of each cluster: the probability of"
                " more events beyond the radius without drift, and half of that of as many.",
            ),
        },
        is_share=True,
    ),
    "spread": StatisticWords(
        title="Spread",
        text="The change of the mean squared distance from the baseline's mean.",
        smallest="Relative change of the mean squared distance from the baseline's mean.",
        sentence="events lie further from the baseline's mean, or nearer",
        advice="Look for noise, compression, or vectors that are scaled or normalised otherwise.",
        numbers={
            "spread_change_ratio": (
                "ratio, -1 or more",
                "Mean squared distance of the events from the baseline's mean, over the baseline's, minus 1."
                " Parts: components (the leading ones), residual (all other directions), typical (the leading"
                " ones, of most events). Null if the baseline has no such part.",
            ),
            "spread_excess_ratio": (
                "ratio, -1 or more",
                "Absolute value of the change minus its expectation without drift, by part.",
            ),
            "spread_p_value": (
                "probability",
                "p-value of the spread, by part: the probability of a change this large without drift.",
            ),
        },
        is_share=True,
        by_sign=(
            "events lie further from the baseline's mean",
            "events lie nearer to the baseline's mean",
        ),
    ),
    "duplicates": StatisticWords(
        title="Duplicates",
        text="The share of events that one repeated item would be, above the baseline's rate.",
        smallest="Share of the events that are one repeated item.",
        sentence="an item is repeated",
        advice="Look for one input sent again and again: a stuck camera, retries, a cached answer.",
        numbers={
            "duplicates_ratio": (
                "ratio, 0 to 1",
                "Share of the events that one repeated item would be, for as many pairs of equal events above"
                " the baseline's rate. Without drift 0, or by chance about 0.4 over the root of the events.",
            ),
            "duplicates_p_value": (
                "probability",
                "p-value of the duplicates: the probability of as many pairs of equal events without drift.",
            ),
        },
        is_share=True,
    ),
    "relations": StatisticWords(
        title="Relations",
        text="The largest change of how two of the eight leading directions vary together, as a correlation.",
        smallest="Change of the mean product of two leading directions, about that of their correlation.",
        sentence="directions vary together otherwise than in the baseline: their correlations changed",
        advice="Look for inputs that no longer match each other, or an embedding that was rotated: another"
        " model version, other preprocessing.",
        numbers={
            "relations_change": (
                "standard deviations of one event's product, 0 or more",
                "Change of the mean product of two of the eight leading directions, over each event's length."
                " Parts: largest (of all pairs), total (of all pairs around the clusters' means together).",
            ),
            "relations_p_value": (
                "probability",
                "p-value of the relations, by part: the probability of a change this large without drift.",
            ),
        },
    ),
    "minor_shift": StatisticWords(
        title="Minor shift",
        text="How far the events moved along directions in which the baseline varies little, less what noise"
        " makes.",
        smallest="Squared length of the shift of the mean along 96 components after the leading 32, in their"
        " standard deviations.",
        sentence="inputs moved together, in directions in which the baseline varies little",
        advice="Look for what moves many inputs at once: preprocessing, a camera, a new model version.",
        numbers={
            "minor_shift_excess": (
                "squared standard deviations",
                "Squared length of the shift along the minor components minus the expected value without"
                " drift.",
            ),
            "minor_shift_p_value": (
                "probability",
                "p-value of that shift: the probability of one this large without drift.",
            ),
        },
    ),
}
"""The words of each statistic of the registry, by name."""


def words_of_kind(kind: str) -> StatisticWords | None:
    """Return the words of the statistic of a kind of drift; None if another version wrote it."""
    return next((WORDS[each.name] for each in registry.STATISTICS if each.kind == kind), None)


def list_kinds() -> str:
    """Return the kinds of drift with what they mean, for a list in a sentence."""
    return ", ".join(f"{each.kind} ({WORDS[each.name].sentence})" for each in registry.STATISTICS)
