"""Mutations of encoded records."""

from collections.abc import Iterable

from hypothesis import strategies as st

Mutation = tuple[int, int, bytes]
"""A position as a share of 2^16, how many bytes from there on are removed, and what is put there."""

MUTATIONS = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 3), st.binary(max_size=6)), min_size=1, max_size=3
)


def mutate(record: bytes, mutations: Iterable[Mutation]) -> bytes:
    """Return the mutated record; its first byte, the version, stays."""
    for share, removed, added in mutations:
        at = 1 + share * (len(record) - 1) // 2**16
        record = record[:at] + added + record[at + removed :]
    return record
