"""What the README claims, measured: `make bench`, or `python -m benchmarks NAME …`."""

from shoebox.base.runtime import ask_for_large_pages

ask_for_large_pages()  # as the `shoebox` command does, before anything imports torch
