"""How a command fails: a sentence on what happened, one on how to mend it, and an exit code."""

DONE = 0
FAILED = 1
WRONG_USE = 2


class CliFailure(Exception):
    """A command could not be done. Shown as two lines, never as a traceback."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


def wrong_use(message: str, hint: str | None = None) -> CliFailure:
    """The command was asked in a way that can't be answered (exit code 2)."""
    return CliFailure(message, hint=hint, exit_code=WRONG_USE)
