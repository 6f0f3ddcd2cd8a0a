"""The progress of long work: the share that is done."""

from driftgauge.progress import WorkProgress


def test_share_is_that_of_the_total():
    assert WorkProgress("rows read", 1, 4).known_share == 0.25
    # A topic may hold more records than its offsets let expect.
    assert WorkProgress("records read", 5, 4).known_share == 1


def test_share_is_unknown_without_total():
    assert WorkProgress("rows read", 1).known_share is None
    assert WorkProgress("records read", 0, 0).known_share is None


def test_given_share_has_precedence():
    assert WorkProgress("lines read", 1, 4, share=0.5).known_share == 0.5
