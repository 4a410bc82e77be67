import pytest


@pytest.fixture
def shoebox(run_command, tmp_path):
    """shoebox("train", …, code=0): run the command in an empty folder; gives stdout and stderr, holds the exit code."""

    def run(*arguments, code=0):
        done = run_command(["shoebox", *map(str, arguments)], tmp_path)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run
