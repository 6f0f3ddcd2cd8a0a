"""Data loss: the windows that it may affect."""

import pytest

from driftgauge.core.windows.changelog import DataLoss
from driftgauge.core.windows.window import Window

AT = "embeddings", 0


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "touched"),
    [
        (None, None, [0, 100, 200, 300, 400]),
        (200, None, [200, 300, 400]),
        (199, None, [100, 200, 300, 400]),
        (None, 199, [0, 100]),
        (None, 200, [0, 100, 200]),
        (250, 320, [200, 300]),
        (250, 250, [200]),
    ],
)
def test_loss_affects_windows_that_may_lack_events(from_ms, to_ms, touched):
    loss = DataLoss(AT, from_ms, to_ms)
    windows = [Window(100, start_ms) for start_ms in (0, 100, 200, 300, 400)]
    assert [window.start_ms for window in windows if loss.affects(window)] == touched
