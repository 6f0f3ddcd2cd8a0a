from driftgauge.core.partition import name_partitions


def test_partitions_are_named_in_the_order_of_their_numbers():
    assert name_partitions([("b", 1), ("a", 10), ("a", 9)]) == ["a[9]", "a[10]", "b[1]"]
