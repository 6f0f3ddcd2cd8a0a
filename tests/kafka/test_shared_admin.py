"""The replacement of the shared administration client."""

from weakref import ref

from driftgauge.kafka.shared_admin import SharedAdmin
from tests.kafka.parts import StandingClock


def test_renew_replaces_client_at_most_every_five_seconds():
    clock, made = StandingClock(), iter("abc")
    admin = SharedAdmin(lambda: next(made), clock.clock)
    assert admin.client == "a"
    admin.renew()
    assert admin.client == "a"
    clock.move(5)
    admin.renew()
    admin.renew()
    assert admin.client == "b"
    clock.move(5)
    admin.renew()
    assert admin.client == "c"


def test_replaced_client_is_kept_for_open_requests():
    class Client:
        pass

    clock = StandingClock()
    admin = SharedAdmin(Client, clock.clock)
    first = ref(admin.client)
    for _ in range(2):
        clock.move(5)
        admin.renew()
        assert first() is not None
    clock.move(5)
    admin.renew()
    assert first() is None
