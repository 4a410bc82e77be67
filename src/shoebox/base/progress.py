"""What a person sees while waiting: bars on a terminal, plain lines in a log, nothing when asked for nothing.

Everything goes to stderr, so that stdout holds results alone.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Where work reports to."""

    def say(self, text: str) -> None:
        """Show one line that stays."""

    def track(self, items: Iterable[Item], total: int | None = None, label: str = "") -> Iterator[Item]:
        """Yield `items` unchanged while showing how far they are."""


class Quiet:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[Item], total: int | None = None, label: str = "") -> Iterator[Item]:
        """Yield `items` unchanged."""
        yield from items


class Lines:
    """Plain lines for a log: each message once, and a count every `every` seconds for what takes longer."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every

    def say(self, text: str) -> None:
        """Print the line."""
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201

    def track(self, items: Iterable[Item], total: int | None = None, label: str = "") -> Iterator[Item]:
        """Yield `items`, printing "label: done of total" now and then."""
        due = time.monotonic() + self.every
        for done, item in enumerate(items):
            if time.monotonic() >= due:
                self.say(f"{label}: {done:,} of {total:,}" if total else f"{label}: {done:,}")
                due = time.monotonic() + self.every
            yield item


class Live:
    """A bar on a terminal, drawn by rich and gone when its work is done."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print the line above any bar."""
        self.console.print(printable(text), markup=False)

    def track(self, items: Iterable[Item], total: int | None = None, label: str = "") -> Iterator[Item]:
        """Yield `items` under a bar with the time left."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            for item in items:
                yield item
                bar.advance(task)


QUIET = Quiet()


def progress_for(*, quiet: bool) -> Progress:
    """What suits where stderr goes: nothing, bars on a terminal, lines elsewhere."""
    if quiet:
        return QUIET
    return Live() if sys.stderr.isatty() else Lines()


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes of file names shown as escapes, so that a name cannot
    move the cursor or forge a line."""
    return "".join(
        c if c.isprintable() or c in "\n\xa0" else c.encode("unicode_escape", "replace").decode() for c in text
    )


def duration(seconds: float) -> str:
    """Seconds as people write them: 9.3 s, 1m05s, 2h03m."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours}h{left:02d}m" if hours else f"{minutes}m{rest:02d}s"
