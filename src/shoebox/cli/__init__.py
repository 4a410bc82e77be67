"""The command line: one verb a job. Each parses, calls one public function, prints.

Results go to stdout (with --json, one object and nothing else), everything else to stderr. Exit codes: 0 done,
1 failed, 2 wrong use, 128 + n stopped by signal n. Nothing heavy is imported before a verb needs it.
"""

import sys

import typer

from shoebox.base.errors import ShoeboxError
from shoebox.base.runtime import ask_for_large_pages, collect_rarely, wait_politely
from shoebox.cli import check, deploy, learn, study, use
from shoebox.cli.output import complain

app = typer.Typer(
    name="shoebox",
    help="A shoebox of pictures in, a classifier out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (
    learn.demo,
    learn.data,
    check.check,
    check.fix,
    learn.models,
    learn.import_weights,
    learn.train,
    learn.ladder,
    use.evaluate,
    use.predict,
    deploy.sort,
    deploy.undo,
    deploy.export,
    study.report,
    deploy.serve,
    study.compare,
    study.runs,
    study.robustness,
    study.sweep,
    learn.cache,
):
    app.command()(verb)


def main() -> None:
    """Run the command line and leave with its exit code; a person's mistake is one line, never a traceback."""
    wait_politely()
    ask_for_large_pages()
    collect_rarely()
    try:
        app()
    except ShoeboxError as e:
        sys.exit(complain(e, e.exit_code))
    except (OSError, MemoryError) as e:
        sys.exit(complain(e or "out of memory", 1))
