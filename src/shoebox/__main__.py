"""`python -m shoebox` is the command `shoebox`."""

from shoebox.cli import main

main()
