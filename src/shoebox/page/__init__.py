"""The page that a server shows: pictures classified, explained and sorted out, labels decided, trainings started.

`mount.mount` adds it to the application of `shoebox.serve`. What the browser gets lies in `static/`, as written: HTML,
CSS and JavaScript modules without a build step. Nothing is asked of any other server.
"""
