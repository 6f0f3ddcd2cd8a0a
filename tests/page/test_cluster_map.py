"""Tests of `driftgauge.page.cluster_map`."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.page.cluster_map import Label, cluster_map
from tests.builders.page import build_record


def cluster(number, position, share, baseline_share, name=None):
    return {
        "id": number,
        "count": 1,
        "share": share,
        "baseline_share": baseline_share,
        "js_contribution": 0.0,
        "position": position,
        "name": name,
    }


def test_map_places_clusters_by_position_and_size_by_share():
    record = build_record(
        clusters=[cluster(0, [0, 0], 0.04, 0.36), cluster(1, [2, 1], 0.36, 0.04), cluster(2, None, 0.6, 0.6)]
    )
    drawn = cluster_map(record.clusters, [1])
    large, small = drawn.bubbles
    assert (large.cluster.id, small.cluster.id) == (1, 0)
    assert (large.change, small.change) == ("more", "less")
    assert small.label is None
    assert large.label == Label("1", large.x, pytest.approx(large.y + 4.7, abs=0.2))
    assert large.radius == pytest.approx(3 * small.radius, abs=0.2)
    assert large.baseline_radius == small.radius
    # One scale for both axes, and up is up.
    assert large.x - small.x == pytest.approx(2 * (small.y - large.y), abs=0.2)


def test_clusters_without_positions_have_no_map():
    assert cluster_map(build_record(clusters=[cluster(0, None, 1, 1)]).clusters, []) is None


def test_single_position_is_drawn():
    drawn = cluster_map(build_record(clusters=[cluster(0, [3, 3], 1, 1)]).clusters, [])
    assert len(drawn.bubbles) == 1


def test_names_that_would_cover_each_other_move_down():
    clusters = [cluster(0, [0, 0], 0.3, 0.3), cluster(1, [0.01, 0], 0.3, 0.3), cluster(2, [9, 0], 0.4, 0.4)]
    drawn = cluster_map(build_record(clusters=clusters).clusters, [0, 1, 2])
    near, shifted, apart = sorted(drawn.bubbles, key=lambda bubble: bubble.x)
    assert near.label.y == apart.label.y
    assert shifted.label.y == pytest.approx(near.label.y + 14)


def test_names_at_the_lower_edge_move_up():
    clusters = [cluster(number, [0, 0], 0, 0) for number in range(4)] + [cluster(4, [0, 9], 0, 0)]
    drawn = cluster_map(build_record(clusters=clusters).clusters, range(5))
    heights = sorted(bubble.label.y for bubble in drawn.bubbles)
    assert heights[1:] == [372, 386, 400, 414]


def test_long_name_is_shortened():
    drawn = cluster_map(build_record(clusters=[cluster(0, [3, 3], 1, 1, "truck, " * 9)]).clusters, [0])
    assert drawn.bubbles[0].label.text == "truck, truck, truck, truck, tru…"


coordinates = st.floats(-1e3, 1e3)
shares = st.floats(0, 1)


@given(
    st.lists(
        st.tuples(
            st.tuples(coordinates, coordinates), shares, shares, st.none() | st.text("ab", max_size=50)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_bubbles_and_names_lie_within_the_map(places):
    clusters = [cluster(number, list(position), *others) for number, (position, *others) in enumerate(places)]
    drawn = cluster_map(build_record(clusters=clusters).clusters, range(len(places)))
    boxes = []
    for bubble in drawn.bubbles:
        reach = max(bubble.radius, bubble.baseline_radius)
        assert reach <= min(bubble.x, bubble.y)
        assert max(bubble.x, bubble.y) + reach <= drawn.size
        half = 3.5 * len(bubble.label.text)
        boxes.append((bubble.label.x - half, bubble.label.x + half, bubble.label.y))
        assert boxes[-1][0] >= 0
        assert boxes[-1][1] <= drawn.size
        assert 12 <= bubble.label.y <= drawn.size - 4
    for (left, right, line), (other_left, other_right, other) in combinations(boxes, 2):
        assert right <= other_left + 0.1 or other_right <= left + 0.1 or abs(line - other) >= 13.9
