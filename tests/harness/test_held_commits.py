"""The relay's held commit: which request is held, and when it is delivered."""

from itertools import count

import pytest

from tests.harness.held_commits import Action, HeldCommit
from tests.harness.protocol import ApiKey, ProtocolRequest

CLIENT = b"\x00\x07rdkafka"
NUMBERS = count(1)


def frame(api: int, version: int, body: bytes, *, flexible: bool = False) -> bytes:
    header = api.to_bytes(2) + version.to_bytes(2) + (77).to_bytes(4) + CLIENT
    return header + (b"\x00" if flexible else b"") + body


END = b"\x00\x03txn" + bytes(8) + bytes(2)


@pytest.mark.parametrize(
    ("sent", "request_read"),
    [
        (frame(26, 1, END + b"\x01"), ProtocolRequest(ApiKey.END_TXN, 77, "txn", commits=True)),
        (frame(26, 1, END + b"\x00"), ProtocolRequest(ApiKey.END_TXN, 77, "txn")),
        (
            frame(26, 3, b"\x04txn" + bytes(10) + b"\x01\x00", flexible=True),
            ProtocolRequest(ApiKey.END_TXN, 77, "txn", commits=True, is_flexible=True),
        ),
        (frame(24, 0, b"\x00\x03txn" + bytes(14)), ProtocolRequest(ApiKey.ADD_PARTITIONS_TO_TXN, 77, "txn")),
        (frame(0, 8, b"\x00\x03txn" + bytes(6)), ProtocolRequest(ApiKey.PRODUCE, 77, "txn")),
        (
            frame(0, 9, b"\x04txn" + bytes(6), flexible=True),
            ProtocolRequest(ApiKey.PRODUCE, 77, "txn", is_flexible=True),
        ),
        (frame(0, 8, b"\xff\xff" + bytes(6)), ProtocolRequest(ApiKey.PRODUCE, 77, None)),
        (
            frame(0, 10, b"\x00" + bytes(6), flexible=True),
            ProtocolRequest(ApiKey.PRODUCE, 77, None, is_flexible=True),
        ),
        (frame(3, 12, b"whatever"), ProtocolRequest(3, 77)),
    ],
)
def test_parse_reads_transactional_id_and_commit(sent: bytes, request_read: ProtocolRequest) -> None:
    assert ProtocolRequest.parse(sent) == request_read


def test_parse_of_truncated_request_fails() -> None:
    with pytest.raises(AssertionError, match="ends before"):
        ProtocolRequest.parse(frame(26, 1, END)[:-3])


def actions(*requests: ProtocolRequest) -> list[Action]:
    held = HeldCommit()
    return [held.next_action(request) for request in requests]


def build(api: int, transactional_id: str | None = "txn", *, commits: bool = False) -> ProtocolRequest:
    return ProtocolRequest(api, next(NUMBERS), transactional_id, commits)


def test_held_commit_is_delivered_between_records_of_next_transaction() -> None:
    assert actions(
        build(ApiKey.PRODUCE),
        build(ApiKey.END_TXN, commits=True),
        build(ApiKey.END_TXN, commits=True),  # again
        build(ApiKey.ADD_PARTITIONS_TO_TXN),
        build(ApiKey.PRODUCE),
        build(ApiKey.PRODUCE),
        build(ApiKey.PRODUCE),
    ) == [
        Action.FORWARD,
        Action.HOLD,
        Action.FORWARD,
        Action.FORWARD,
        Action.FORWARD,
        Action.DELIVER_HELD_FIRST,
        Action.FORWARD,
    ]


def test_aborts_and_other_producers_are_not_held() -> None:
    assert set(actions(build(ApiKey.END_TXN), build(ApiKey.PRODUCE, None), build(3, None))) == {
        Action.FORWARD
    }
    assert actions(
        build(ApiKey.END_TXN, commits=True),
        build(ApiKey.END_TXN, "other", commits=True),
        build(ApiKey.PRODUCE),
        build(ApiKey.PRODUCE),
    ) == [Action.HOLD, Action.FORWARD, Action.FORWARD, Action.FORWARD]
