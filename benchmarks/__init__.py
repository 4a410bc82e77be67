"""What the README claims, measured: `make bench`, or `python -m benchmarks NAME …`."""

from shoebox.base.runtime import ask_for_large_pages, collect_rarely

# As the `shoebox` command does, before anything imports torch.
ask_for_large_pages()
collect_rarely()
