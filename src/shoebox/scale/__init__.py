"""More than one run, process or machine."""
