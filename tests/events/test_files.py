"""Reading files of recorded events, with progress."""

import gzip

import pytest

from driftgauge.errors import InputError
from driftgauge.events import files
from driftgauge.events.files import EventFiles, read_lines


def test_lines_have_numbers_and_blank_lines_count(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"a\r\n\n  \nb")
    assert list(read_lines(path)) == [(1, b"a"), (4, b"b")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_byte_order_mark_belongs_to_no_line(tmp_path, name):
    path = tmp_path / name
    for content, lines in ((b"a\n\xef\xbb\xbfb", [(1, b"a"), (2, b"\xef\xbb\xbfb")]), (b"\n", []), (b"", [])):
        whole = b"\xef\xbb\xbf" + content
        path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
        assert list(read_lines(path)) == lines


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("length", [15, 16, 17, 31, 32, 100])
def test_only_the_start_of_a_long_line_is_kept(tmp_path, monkeypatch, name, length):
    monkeypatch.setattr(files, "LONGEST_LINE", 16)
    for content in (b"x" * length + b"\nafter", b"x" * length):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        lines = [(1, b"x" * min(length, 16)), (2, b"after")]
        assert list(read_lines(path)) == lines[: 1 + content.count(b"\n")]


@pytest.mark.parametrize("name", ["{}.jsonl", "{}.jsonl.gz"])
def test_progress_counts_lines_and_bytes_of_all_files(tmp_path, name):
    paths = [tmp_path / name.format(number) for number in range(2)]
    for path in paths:
        content = b"".join(b"%d\n" % (line * 7_919) for line in range(2_500))
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    reports = []
    files = EventFiles(paths, reports.append)
    assert [sum(1 for _ in files.read(path)) for path in paths] == [2_500, 2_500]
    assert [work.done for work in reports] == [0, 1_000, 2_000, 3_500, 4_500]
    assert {work.noun for work in reports} == {"lines read"}
    shares = [work.known_share for work in reports]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.5 < shares[3] <= 1


def test_missing_file_is_reported_when_it_is_read(tmp_path):
    files = EventFiles([tmp_path / "absent.jsonl"], lambda _: None)
    with pytest.raises(InputError, match=r"absent\.jsonl cannot be read \(No such file"):
        list(files.read(tmp_path / "absent.jsonl"))
