"""Names of source partitions."""

from driftgauge.core.partition import name_partitions


def test_name_partitions_sorts_by_topic_and_index():
    assert name_partitions([("b", 1), ("a", 10), ("a", 9)]) == ["a[9]", "a[10]", "b[1]"]
