import pytest

from driftgauge.errors import TransactionAborted
from driftgauge.events.rejection import Reason, Rejection
from driftgauge.kafka.dead_letters import DeadLetters
from driftgauge.kafka.transaction import ANY
from tests.kafka.parts import LETTERS, Record, RecordingTransaction

MAX_BYTES = 100_000


@pytest.fixture
def transaction():
    return RecordingTransaction()


@pytest.fixture
def letters(transaction):
    return DeadLetters(transaction, LETTERS, MAX_BYTES)


def reject(row=0, detail="it is no JSON"):
    return Rejection(row, Reason.UNDECODABLE, detail, None)


def test_a_rejected_record_is_written_on_as_it_was_with_the_reason_and_its_place(letters, transaction):
    good = Record(b"good")
    bad = Record(b"bad", key=b"k\xff", partition=3, offset=17, headers=[("trace", b"\x00"), ("none", None)])
    letters.add([good, bad], [reject(row=1, detail="why \udcff")])
    assert len(letters) == 1
    assert transaction.sent == [], "it is held back until the commit"
    letters.write()
    (sent,) = transaction.sent
    assert (sent.topic, sent.partition, sent.key, sent.value) == (LETTERS, ANY, b"k\xff", b"bad")
    assert sent.headers[:2] == [("trace", b"\x00"), ("none", None)]
    assert dict(sent.headers[2:]) == {
        "driftgauge.reason": b"undecodable",
        "driftgauge.detail": b"why ?",
        "driftgauge.topic": b"embeddings",
        "driftgauge.partition": b"3",
        "driftgauge.offset": b"17",
    }


def test_what_is_held_is_written_again_until_it_is_dropped(letters, transaction):
    letters.add([Record(b"bad")], [reject()])
    letters.write()
    letters.write()
    assert len(transaction.sent) == 2, "the first transaction may have been aborted"
    letters.clear()
    letters.write()
    assert len(transaction.sent) == 2
    assert len(letters) == 0


def test_one_that_is_too_large_goes_without_its_content(letters, transaction):
    letters.add([Record(b"x" * MAX_BYTES, key=b"key", headers=[("trace", b"1")])], [reject()])
    letters.write()
    (sent,) = transaction.sent
    assert (sent.key, sent.value) == (None, None)
    assert dict(sent.headers)["driftgauge.omitted"] == b"100009 bytes of key, value and headers"
    assert "trace" not in dict(sent.headers)


def test_one_that_the_client_refuses_goes_without_its_content(letters, transaction):
    transaction.limit = 10
    letters.add([Record(b"x" * 50)], [reject()])
    letters.write()
    assert [sent.value for sent in transaction.sent] == [None]


def test_after_its_topic_refused_one_the_letters_are_smaller(letters, transaction):
    letters.add([Record(b"x" * 50_000), Record(b"y" * 10_000, offset=1)], [reject(), reject(row=1)])
    letters.write()
    assert [len(sent.value) for sent in transaction.sent] == [50_000, 10_000]
    letters.handle_abort(TransactionAborted("", too_large={(LETTERS, 0)}))
    transaction.sent = []
    letters.write()
    assert [sent.value and len(sent.value) for sent in transaction.sent] == [None, 10_000]


def test_that_another_topic_refused_one_changes_nothing(letters, transaction):
    letters.add([Record(b"x" * 50_000)], [reject()])
    letters.write()
    letters.handle_abort(TransactionAborted("", too_large={("other", 0)}))
    letters.write()
    assert [len(sent.value) for sent in transaction.sent] == [50_000, 50_000]


def test_headers_that_cannot_be_read_are_left_out(letters, transaction):
    class Unreadable(Record):
        def headers(self):
            raise SystemError

    letters.add([Unreadable(b"bad")], [reject()])
    letters.write()
    (sent,) = transaction.sent
    assert sent.value == b"bad"
    assert b"not UTF-8" in dict(sent.headers)["driftgauge.omitted"]


def test_so_much_is_held_and_then_it_should_be_committed(letters):
    letters.add([Record(b"x" * 900_000)], [reject()] * 18)
    assert not letters.is_full
    letters.add([Record(b"x" * 900_000)], [reject()])
    assert letters.is_full
    letters.clear()
    assert not letters.is_full
