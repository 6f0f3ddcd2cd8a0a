"""The demo's own error."""

from driftgauge.errors import ServiceError

__all__ = ["DemoError"]


class DemoError(ServiceError):
    """The demo's service failed, or its results are not as expected."""
