"""A client that does not end is left behind and reported."""

import threading

from tests.harness.closing import join, take_left_behind


def test_thread_that_does_not_end_is_left_behind() -> None:
    ended, may_end = threading.Thread(target=lambda: None), threading.Event()
    stuck = threading.Thread(target=may_end.wait, daemon=True)
    ended.start()
    stuck.start()
    assert join(ended, "the first")
    assert not join(stuck, "the second", within_s=0.0)
    assert take_left_behind() == ["the second did not end within 0 s, and was left behind"]
    assert take_left_behind() == []
    may_end.set()
    stuck.join()
