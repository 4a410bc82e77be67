"""The errors a person can meet. Their message is what the command line prints; no traceback follows.

Every message says what was wrong, where, what was expected and what to do next.
"""


class ShoeboxError(Exception):
    """Something failed that is not a defect of Shoebox: exit code 1."""

    exit_code = 1


class UsageError(ShoeboxError):
    """The request itself cannot be carried out as written (a wrong option, path or setting): exit code 2."""

    exit_code = 2


class MissingExtra(ShoeboxError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"this needs the library {library}, which is not installed: pip install 'shoebox-classifier[{extra}]'"
        )
