"""Tests of when a group counts as recovered, by samples of its offsets."""

import pytest

from tests.chaos.recovery import ProgressSample, recovered_s


def sample(at_s: float, ends: tuple[int, ...], committed: tuple[int, ...]) -> ProgressSample:
    return ProgressSample(at_s, at_s + 0.1, ends, committed)


@pytest.mark.parametrize(
    ("samples", "recovered"),
    [
        (
            [
                sample(0.0, (10, 10), (9, 9)),
                sample(1.0, (12, 12), (11, 9)),
                sample(2.0, (14, 14), (13, 12)),  # partition 1 is at that end, not past it
                sample(3.0, (16, 16), (15, 13)),
                sample(4.0, (18, 18), (17, 17)),
            ],
            3.1,
        ),
        ([sample(0.0, (10,), (9,)), sample(1.0, (20,), (15,)), sample(2.0, (30,), (20,))], None),
        ([sample(1.0, (0, 0), (-1001, -1001)), sample(2.0, (5, 5), (5, -1001))], None),
        ([sample(1.0, (0, 0), (-1001, -1001)), sample(3.0, (6, 6), (6, 1))], 3.1),
        ([sample(0.0, (1,), (1,))], None),
    ],
    ids=["all past the end at the effect", "commits before", "no commit", "a late commit", "no sample"],
)
def test_recovery_requires_every_partition_past_its_end(
    samples: list[ProgressSample], recovered: float | None
) -> None:
    assert recovered_s(samples, 0.5) == recovered


def test_recovery_after_last_event_requires_all_committed() -> None:
    samples = [sample(0.0, (5, 5), (4, 5)), sample(1.0, (6, 5), (4, 5)), sample(2.0, (6, 5), (6, 5))]
    assert recovered_s(samples, 0.5) is None
    assert recovered_s(samples, 0.5, has_ended=True) == 2.1
    assert recovered_s(samples[:2], 0.5, has_ended=True) is None
