"""Builders of heartbeats, and of what the page makes of them."""

from typing import Any

from driftgauge.events.records import StoredRecord
from driftgauge.page.service_watch import ServiceWatch
from driftgauge.records.heartbeat import Heartbeat, encode_heartbeat
from tests.builders.clocks import MONDAY_MS
from tests.builders.page import MadeSource

BOTH = ("count", "windows")

HEARTBEAT = Heartbeat(
    "replica-0",
    BOTH,
    reasons={"clock": "this clock and the brokers' differ by 2500 ms; check NTP here and on the brokers"},
    blocked={"transaction": ("embeddings[3]",)},
    read={"embeddings": 1_000},
    accepted={"images": 900, "cam-*": 40},
    refused={("embeddings", "images", "wrong_dimension"): 50, ("embeddings", "", "undecodable"): 10},
    surplus={"cam-*": 7},
    gaps={("images", 10): 880},
    more_blocked={"transaction": 3},
    unpolled_ms={"count": 61_000},
    unread={"embeddings": 1_200},
)


def beat(
    watch: ServiceWatch,
    time_ms: int = MONDAY_MS,
    replica: str = "a",
    arrived_ms: int | None = None,
    **fields: Any,
) -> None:
    """Let a replica send a heartbeat at a time of the brokers' clock, which comes at one of the reader's."""
    (value,) = encode_heartbeat(Heartbeat(replica, **{"roles": BOTH, **fields}))
    watch.receive(StoredRecord(value, stored_ms=time_ms), arrived_ms)


def build_watch(time_ms: int = MONDAY_MS, **fields: Any) -> ServiceWatch:
    """Return what has read a topic with one heartbeat to its end."""
    watch = ServiceWatch()
    watch.source = MadeSource()
    beat(watch, time_ms, **fields)
    return watch
