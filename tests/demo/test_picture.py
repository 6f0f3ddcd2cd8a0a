"""Tests of `deploy.demo.picture`."""

import pytest
from deploy.demo.errors import DemoError
from deploy.demo.picture import draw
from matplotlib.figure import Figure
from matplotlib.image import imread

from tests.builders.days import build_day, build_days

# Red of the divergence, blue of the accuracy; see the module.
RED, BLUE = (0.71, 0.19, 0.16), (0.12, 0.37, 0.6)


def is_near(pixels, colour):
    return (abs(pixels[..., :3] - colour) < 0.02).all(axis=2)


def test_picture_is_png_of_readable_width(tmp_path):
    path = tmp_path / "drift.png"
    draw(build_days(), path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    height, width, _ = imread(path).shape
    assert 1_000 < width < 1_400
    assert 600 < height < 900


def test_divergence_rises_above_falling_accuracy(tmp_path):
    path = tmp_path / "drift.png"
    draw(build_days(), path)
    pixels = imread(path)
    third = pixels.shape[1] // 3
    heights = {}
    for name, colour in (("divergence", RED), ("accuracy", BLUE)):
        found = is_near(pixels, colour)
        # Away from the legend in the first week.
        heights[name] = [
            found[:, start : start + 60].nonzero()[0].min() for start in (third + 150, 2 * third + 200)
        ]
    assert heights["divergence"][0] > heights["divergence"][1] + 100, "rows count from the top"
    assert heights["accuracy"][1] > heights["accuracy"][0] + 30
    assert max(heights["divergence"]) < min(heights["accuracy"])


def test_axes_start_at_zero(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    draw(build_days((0.5, 0.6, 0.7)), tmp_path / "drift.png")
    upper, lower = figures[0].axes
    assert upper.get_ylim()[0] == 0
    assert upper.get_ylim()[1] > 0.7
    assert lower.get_ylim() == pytest.approx((0, 1.05))
    assert upper.get_xlim() == lower.get_xlim() == (0, 21)
    assert "0 to 1" in upper.get_ylabel()
    words = " ".join(text.get_text() for text in upper.texts)
    for week in (
        "week 1: clean images\nmean 0.500",
        "week 2: blurred",
        "week 3: darkened images\nmean 0.700",
    ):
        assert week in words


def test_single_day_is_drawn(tmp_path):
    draw([build_day()], tmp_path / "drift.png")
    assert (tmp_path / "drift.png").stat().st_size > 1_000


def test_unwritable_picture_is_reported_with_path(tmp_path):
    path = tmp_path / "missing" / "drift.png"
    with pytest.raises(
        DemoError, match=r"drift\.png: cannot write the picture: No such file .*; name a folder"
    ):
        draw(build_days(), path)
