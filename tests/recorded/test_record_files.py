"""Tests of `driftgauge.recorded.record_files`."""

import gzip
import json

import pytest

from driftgauge.errors import InputError
from driftgauge.events.decoder import Decoder
from driftgauge.events.records import StoredRecord
from driftgauge.events.refusals import Refusals
from driftgauge.progress import ignore_progress
from driftgauge.recorded import record_files
from driftgauge.recorded.record_files import EventFiles, RecordFiles, decode_batch, read_lines, read_sample
from tests.builders.clocks import ManualClock

NOW_MS = 1_762_128_000_000
SENT = ("driftgauge.first-origin", b"orders[0]@0")


def write(path, content):
    """Write bytes, compressed where the name ends in .gz."""
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path, content):
    return read_sample(write(path, content), "orders", NOW_MS)


def test_file_is_the_value_of_one_record(tmp_path):
    (record,) = read(tmp_path / "value.json", b'{\n "a": 1\n}\n')
    assert record.value() == b'{\n "a": 1\n}\n'
    assert (record.topic(), record.partition(), record.offset()) == ("orders", 0, 0)
    assert (record.key(), list(record.headers()), record.timestamp()) == (None, [], (1, NOW_MS))
    (record,) = read(tmp_path / "value.bin.gz", b"\xff\n")
    assert record.value() == b"\xff\n"


def read_one(tmp_path, **record):
    (found,) = read(tmp_path / "a.records.jsonl", json.dumps(record).encode())
    return found


def test_record_is_read_as_kcat_prints_it(tmp_path):
    record = read_one(
        tmp_path, topic="t", partition=3, offset=17, tstype="create", ts=5, broker=1,
        headers=["a", "é", "a", None], key="k", payload='{"a":1}',
    )  # fmt: skip
    assert (record.topic(), record.partition(), record.offset()) == ("t", 3, 17)
    assert list(record.headers()) == [("a", "é".encode()), ("a", None)]
    assert (record.key(), record.value(), record.timestamp()) == (b"k", b'{"a":1}', (1, 5))


def test_record_may_hold_json_bytes_and_mapped_headers(tmp_path):
    record = read_one(tmp_path, payload={"a": [1.5]}, key=7, headers={"a": "b"})
    assert (record.value(), record.key(), list(record.headers())) == (b'{"a": [1.5]}', b"7", [("a", b"b")])
    assert record.timestamp() == (1, NOW_MS)
    record = read_one(tmp_path, payload_base64="/wA=", key_base64="/w==")
    assert (record.value(), record.key()) == (b"\xff\0", b"\xff")
    assert read_one(tmp_path, payload=None).value() is None


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"{", "Input data was truncated"),
        (b"[]", "Expected `object`"),
        (b'{"value": 1}', "no payload"),
        (b'{"payload_base64": "?"}', "base64"),
        (b'{"payload": 1, "offset": 9223372036854775808}', "Expected `int` <= 9223372036854775807"),
        (b'{"payload": ' + b"[" * 10_000, ""),
        (b'{"payload": 1, "ts": "5"}', "Expected `int | null`, got `str` - at `$.ts`"),
        (b'{"payload": 1, "partition": true}', "Expected `int`, got `bool` - at `$.partition`"),
        (b'{"payload": 1, "headers": ["a"]}', "neither a mapping nor a list of names and texts"),
        (b'{"payload": 1, "headers": [null, "a"]}', "neither a mapping nor a list of names and texts"),
        (b'{"payload": 1, "headers": {"a": 5}}', "Expected `str | null`, got `int` - at `$.headers[...]`"),
    ],
)
def test_other_line_is_an_input_error_with_its_number(tmp_path, line, part):
    with pytest.raises(InputError) as caught:
        read(tmp_path / "a.records.jsonl", b'\n{"payload": 1}\n' + line)
    assert f"{tmp_path / 'a.records.jsonl'}, line 3: no record as `kcat -J` prints it" in str(caught.value)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.records.jsonl", "a.gz"])
def test_missing_or_damaged_file_is_an_input_error(tmp_path, name):
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        read_sample(tmp_path / name, "orders", NOW_MS)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"abc")[:-3])
    with pytest.raises(InputError, match="cannot be read"):
        read_sample(tmp_path / f"{name}.gz", "orders", NOW_MS)


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b'{"a": 1}\n\nnot json\n', [(1, b'{"a": 1}'), (3, b"not json")]),
        (b"a\r\n\n  \nb", [(1, b"a"), (4, b"b")]),
        # A byte order mark belongs to no line.
        (BOM + b"a\n" + BOM + b"b", [(1, b"a"), (2, BOM + b"b")]),
        (BOM + b"\n", []),
        (BOM, []),
        # Only the start of a long line is kept.
        *(
            (b"x" * length + rest, [(1, b"x" * min(length, 16)), *more])
            for length in (15, 16, 17, 31, 32, 100)
            for rest, more in ((b"\nafter", [(2, b"after")]), (b"", []))
        ),
    ],
)
def test_line_is_a_value_with_its_number(tmp_path, monkeypatch, name, content, lines):
    monkeypatch.setattr(record_files, "LONGEST_LINE", 16)
    assert list(read_lines(write(tmp_path / name, content))) == lines
    sample = read_sample(tmp_path / name, "orders", NOW_MS)
    assert [(record.offset(), record.value()) for record in sample] == [
        (offset, text) for offset, (_, text) in enumerate(lines)
    ]


def test_batch_of_long_lines_is_short(tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "LONGEST_LINE", 16)
    path = write(tmp_path / "a.jsonl", b"\n".join([b"x" * 9] * 5))
    batches = RecordFiles([path], "orders", ignore_progress, Refusals()).batches()
    assert [[record.offset() for record in batch] for batch in batches] == [[1, 2], [3, 4], [5]]
    bad = write(tmp_path / "a.records.jsonl", b"x" * 20)
    assert list(RecordFiles([bad], "orders", ignore_progress, Refusals()).batches()) == []


@pytest.mark.parametrize("name", ["{}.jsonl", "{}.jsonl.gz"])
def test_progress_counts_lines_and_bytes_of_all_files(tmp_path, name):
    content = b"".join(b"%d\n" % (line * 7_919) for line in range(2_500))
    paths = [write(tmp_path / name.format(number), content) for number in range(2)]
    reports = []
    files = EventFiles(paths, reports.append)
    assert [sum(1 for _ in files.read(path)) for path in paths] == [2_500, 2_500]
    assert [work.done for work in reports] == [0, 1_000, 2_000, 3_500, 4_500]
    assert {work.noun for work in reports} == {"lines read"}
    shares = [work.share for work in reports]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.5 < shares[3] <= 1


def test_missing_file_is_reported_when_it_is_read(tmp_path):
    files = EventFiles([tmp_path / "absent.jsonl"], lambda _: None)
    with pytest.raises(InputError, match=r"absent\.jsonl cannot be read \(No such file"):
        list(files.read(tmp_path / "absent.jsonl"))


def test_record_that_was_sent_back_is_read_once():
    twice = [StoredRecord(b"{}", "orders", 0, 0), StoredRecord(b"{}", "orders", 0, 1, stored_headers=[SENT])]
    _, read = decode_batch(Decoder([], lead_ms=0).decode, twice, ManualClock(NOW_MS).clock)
    assert read == twice[:1]


def test_record_of_another_topic_is_not_read_as_one_of_this(tmp_path):
    records = b'{"topic": "orders", "payload": "{}"}\n{"topic": "other", "payload": "{}"}\n'
    path = write(tmp_path / "all.records.jsonl", records)
    with pytest.raises(InputError, match="line 2: a record of other, and orders is read"):
        list(RecordFiles([path], "orders", ignore_progress, Refusals()).batches())
