"""Tests of when a group counts as recovered, by samples of its offsets."""

from tests.chaos.recovery import ProgressSample, recovered_s


def sample(at_s: float, ends: tuple[int, ...], committed: tuple[int, ...]) -> ProgressSample:
    return ProgressSample(at_s, at_s + 0.1, ends, committed)


def test_recovery_requires_every_partition_past_end_at_effect() -> None:
    samples = [
        sample(0.0, (10, 10), (9, 9)),
        sample(1.0, (12, 12), (11, 9)),
        sample(2.0, (14, 14), (13, 12)),  # partition 1 is at that end, not past it
        sample(3.0, (16, 16), (15, 13)),
        sample(4.0, (18, 18), (17, 17)),
    ]
    assert recovered_s(samples, 0.5) == 3.1


def test_commits_before_effect_are_no_recovery() -> None:
    samples = [sample(0.0, (10,), (9,)), sample(1.0, (20,), (15,)), sample(2.0, (30,), (20,))]
    assert recovered_s(samples, 0.5) is None


def test_partition_without_commit_delays_recovery() -> None:
    samples = [sample(1.0, (0, 0), (-1001, -1001)), sample(2.0, (5, 5), (5, -1001))]
    assert recovered_s(samples, 0.5) is None
    assert recovered_s([*samples, sample(3.0, (6, 6), (6, 1))], 0.5) == 3.1


def test_recovery_without_sample_after_effect_is_unknown() -> None:
    assert recovered_s([sample(0.0, (1,), (1,))], 0.5) is None


def test_recovery_after_last_event_requires_all_committed() -> None:
    samples = [sample(0.0, (5, 5), (4, 5)), sample(1.0, (6, 5), (4, 5)), sample(2.0, (6, 5), (6, 5))]
    assert recovered_s(samples, 0.5) is None
    assert recovered_s(samples, 0.5, has_ended=True) == 2.1
    assert recovered_s(samples[:2], 0.5, has_ended=True) is None
