"""Tests of `driftgauge.engine.count.dead_letters`."""

import pytest

from driftgauge.engine.count.dead_letters import DeadLetters
from driftgauge.errors import TransactionFailed
from driftgauge.events.rejection import Reason, Rejection
from tests.builders.messages import FakeMessage

LETTERS = "letters"
MAX_BYTES = 100_000


class RecordingTransaction:
    """Keeps the records produced.

    Attributes:
        sent: The records.
        limit: The most bytes of a value and its headers that the client accepts.
    """

    def __init__(self):
        self.sent, self.limit = [], 1_000_000

    def produce(self, topic, partition, key, value, headers):
        added = sum(len(part or b"") for header in headers for part in header)
        if len(value or b"") + added > self.limit:
            return False
        self.sent.append(FakeMessage(value, topic=topic, partition=partition, key=key, headers=headers))
        return True

    def abort(self, bound_s):
        self.sent = []


@pytest.fixture
def transaction():
    return RecordingTransaction()


@pytest.fixture
def letters(transaction):
    return DeadLetters(transaction, LETTERS, MAX_BYTES)


def reject(row=0, detail="it is no JSON", stream=None):
    return Rejection(row, Reason.UNDECODABLE, detail, stream)


def test_write_keeps_record_and_adds_reason_and_source(letters, transaction):
    good = FakeMessage(b"good")
    bad = FakeMessage(
        b"bad", key=b"k\xff", partition=3, offset=17, headers=[("trace", b"\x00"), ("none", None)]
    )
    letters.add([good, bad], [reject(row=1, detail="why \udcff", stream="images")])
    assert len(letters) == 1
    assert transaction.sent == [], "letters are buffered until the commit"
    letters.write()
    (sent,) = transaction.sent
    # Any partition.
    assert (sent.topic(), sent.partition(), sent.key(), sent.value()) == (LETTERS, None, b"k\xff", b"bad")
    assert sent.headers()[:2] == [("trace", b"\x00"), ("none", None)]
    assert dict(sent.headers()[2:]) == {
        "driftgauge.reason": b"undecodable",
        "driftgauge.detail": b"why ?",
        "driftgauge.topic": b"embeddings",
        "driftgauge.partition": b"3",
        "driftgauge.offset": b"17",
        "driftgauge.stream": b"images",
        "driftgauge.timestamp": b"1762128000000",
    }


def test_first_record_of_a_topic_and_reason_is_logged(letters, caplog):
    late = Rejection(1, Reason.PAST, "56 years behind", None)
    for _ in range(2):
        letters.add([FakeMessage(b"bad", offset=17), FakeMessage(b"old", offset=18)], [reject(), late])
    letters.add([FakeMessage(b"bad", topic="other", offset=1)], [reject()])
    assert [(each.record, each.detail) for each in caplog.records] == [
        ("embeddings[0]@17", "it is no JSON"),
        ("embeddings[0]@18", "56 years behind"),
        ("other[0]@1", "it is no JSON"),
    ]


def test_write_repeats_letters_until_clear(letters, transaction):
    letters.add([FakeMessage(b"bad")], [reject()])
    letters.write()
    letters.write()
    assert len(transaction.sent) == 2, "the first transaction may have been aborted"
    letters.clear()
    letters.write()
    assert len(transaction.sent) == 2
    assert len(letters) == 0


@pytest.mark.parametrize(("topic", "kept"), [(LETTERS, [None, 10_000]), ("other", [50_000, 10_000])])
def test_refusal_by_dead_letter_topic_alone_halves_limit(letters, transaction, topic, kept):
    letters.add([FakeMessage(b"x" * 50_000), FakeMessage(b"y" * 10_000, offset=1)], [reject(), reject(row=1)])
    letters.write()
    letters.handle_failure(TransactionFailed("", too_large={(topic, 0): None}))
    transaction.sent = []
    letters.write()
    assert [sent.value() and len(sent.value()) for sent in transaction.sent] == kept


def test_is_full_from_16_mib_until_clear(letters):
    letters.add([FakeMessage(b"x" * 900_000)], [reject()] * 18)
    assert not letters.is_full
    letters.add([FakeMessage(b"x" * 900_000)], [reject()])
    assert letters.is_full
    letters.clear()
    assert not letters.is_full


@pytest.mark.parametrize("character", ["x", "\N{PILE OF POO}", "\udcff"])
def test_cut_letter_is_small_whatever_the_record_and_its_fault_say(letters, transaction, character):
    transaction.limit = 2_000
    detail = character * 500_000
    value = detail.encode(errors="replace")
    message = FakeMessage(value, key=b"key", headers=[("trace", b"1")], topic="t" * 249)
    letters.add([message], [reject(0, detail, "s" * 128)])
    letters.write()
    (sent,) = transaction.sent
    headers = dict(sent.headers())
    assert (sent.key(), sent.value(), "trace" in headers) == (None, None, False)
    assert headers["driftgauge.omitted"].decode() == f"{len(value) + 9} bytes of key, value and headers"
    kept = headers["driftgauge.detail"].decode()
    assert len(kept) > 200
    assert value.decode().startswith(kept)


def test_letter_that_does_not_fit_even_when_cut_aborts_transaction(letters, transaction):
    transaction.limit = 100
    letters.add([FakeMessage(b"good"), FakeMessage(b"bad")], [reject(row=1)])
    with pytest.raises(TransactionFailed, match=r"raise message\.max\.bytes under kafka") as aborted:
        letters.write()
    assert {topic for topic, _ in aborted.value.too_large} == {LETTERS}
    letters.handle_failure(aborted.value)
    transaction.limit = MAX_BYTES
    letters.write()
    assert len(transaction.sent) == 1, "the letter waits"
