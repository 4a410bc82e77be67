"""Serving: a classifier behind HTTP. The web page that stands before it is `shoebox.page`."""
