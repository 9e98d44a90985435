"""Errors that a caller is told of. Each knows its HTTP status and its code; facts are attributes.

Refused (400)
├── InvalidParameter (400)   a parameter or body field is not acceptable; `param` names it
├── NotFound (404)           unknown, or of a workspace that the caller may not see: no difference is shown
├── Forbidden (403)          known caller, not allowed
├── Conflict (409)           the thing is in a state that does not allow it
└── TooMany (429)            a limit on how much at once
"""


class Refused(Exception):
    """Something the caller asked for was not done; the message says what, where and how to mend it."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class InvalidParameter(Refused):
    """A parameter or body field is not acceptable."""

    def __init__(self, message: str, *, param: str | None, code: str | None = "invalid_value") -> None:
        super().__init__(message, param=param, code=code)


class NotFound(Refused):
    """There is no such thing for this caller."""

    status = 404

    def __init__(self, what: str, identity: str, *, param: str | None = None) -> None:
        super().__init__(f"No such {what}: {identity!r}.", param=param, code="not_found")
        self.what, self.identity = what, identity


class Forbidden(Refused):
    """The caller is known but may not do this."""

    status = 403
    type = "permission_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, code="forbidden")


class Conflict(Refused):
    """The state of the thing does not allow it."""

    status = 409


class TooMany(Refused):
    """More at once than is allowed."""

    status = 429
    type = "rate_limit_error"
