"""The meaning of errors of the schema registry's client, by attributes: its classes come with an extra."""

__all__ = ["describe", "is_not_found", "is_unknown", "is_unreachable", "remedy"]

_NOT_FOUND = 404
_UNAUTHORIZED = (401, 403)
_TOKEN_ERROR = "OAuthTokenError"  # noqa: S105 - the name of a class
_CONNECTION_ERRORS = frozenset({"TransportError", "OSError", _TOKEN_ERROR})
_LONGEST_TEXT = 200


def is_unknown(error: Exception) -> bool:
    """Return whether the registry answers that it has no such schema.

    Its error codes are 404 and two digits; without one another server has answered.
    """
    code = getattr(error, "error_code", None)
    return is_not_found(error) and isinstance(code, int) and code // 100 == _NOT_FOUND


def is_not_found(error: Exception) -> bool:
    """Return whether a server answers 404, whether or not it is a registry."""
    return getattr(error, "http_status_code", None) == _NOT_FOUND


def is_unreachable(error: Exception) -> bool:
    """Return whether no request can succeed: the registry or its token endpoint cannot be reached."""
    return any(each.__name__ in _CONNECTION_ERRORS for each in type(error).__mro__)


def describe(error: Exception) -> str:
    """Return an error in words, without secrets."""
    name = type(error).__name__
    # An error of the token endpoint may quote what was sent.
    return name if name == _TOKEN_ERROR else f"{name}: {error}"[:_LONGEST_TEXT]


def remedy(error: Exception) -> str:
    """Return what the operator can do about an error."""
    status = getattr(error, "http_status_code", None)
    if status in _UNAUTHORIZED or type(error).__name__ == _TOKEN_ERROR:
        return "check schema_registry's credentials, and that they may read the subjects"
    if status == _NOT_FOUND:
        return "check the path in schema_registry.url: no schema registry answers there"
    if status is not None:
        return "check the schema registry"
    return "check that the schema registry runs and that schema_registry.url is its address"
