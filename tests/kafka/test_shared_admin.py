"""The replacement of the shared administration client."""

from weakref import ref

from driftgauge.kafka.shared_admin import SharedAdmin
from tests.builders.clocks import ManualClock


def test_renew_replaces_client_at_most_every_five_seconds():
    clock, made = ManualClock(), iter("abc")
    admin = SharedAdmin(lambda: next(made), clock.clock)
    assert admin.client == "a"
    admin.renew()
    assert admin.client == "a"
    clock.advance(5)
    admin.renew()
    admin.renew()
    assert admin.client == "b"
    clock.advance(5)
    admin.renew()
    assert admin.client == "c"


def test_replaced_client_is_kept_for_open_requests():
    class Client:
        pass

    clock = ManualClock()
    admin = SharedAdmin(Client, clock.clock)
    first = ref(admin.client)
    for _ in range(2):
        clock.advance(5)
        admin.renew()
        assert first() is not None
    clock.advance(5)
    admin.renew()
    assert first() is None
