"""Assembly of commits from interleaved parts."""

from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.counting.partial import CommitId, CommitPart
from driftgauge.core.windows.assembly import CommitAssembler
from tests.builders.partial_records import build_progress


def parts(producer, number, size):
    """The parts of a commit, each with the progress of the partition of its index."""
    commit = CommitId(producer, 0, number)
    return [CommitPart(commit, index, size, 1, 0, (), (build_progress(index),)) for index in range(size)]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_interleaved_commits_are_assembled_whole(commits, random):
    queues = {}
    for number, (producer, size) in enumerate(commits):
        queues.setdefault(producer, []).extend(parts(producer, number, size))
    assembler, whole, offset = CommitAssembler(), [], 0
    while any(queues.values()):
        queue = random.choice([queue for queue in queues.values() if queue])
        part = queue.pop(0)
        done = assembler.add(offset, 0, part)
        assert (done is not None) is (part.index == part.parts - 1)
        if done is not None:
            assert [progress.partition[1] for progress in done.partitions] == list(range(part.parts))
            whole.append(done.commit)
        offset += 1
    assert sorted(whole) == sorted(CommitId(name, 0, number) for number, (name, _) in enumerate(commits))
    assert (assembler.orphans, assembler.first_offset) == (0, None)


def test_duplicate_part_drops_commit():
    assembler = CommitAssembler()
    first, last = parts("a", 0, 2)
    for part in (first, first, last):
        assert assembler.add(0, 0, part) is None
    assert assembler.orphans == 3
