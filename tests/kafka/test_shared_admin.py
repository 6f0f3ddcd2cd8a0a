"""When an administration client is replaced."""

from driftgauge.kafka.shared_admin import SharedAdmin
from tests.kafka.parts import StandingClock


def test_client_is_replaced_but_not_again_within_seconds():
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
