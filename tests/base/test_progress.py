from shoebox.base.progress import QUIET, Lines, Live, duration, printable, progress_for


def test_control_characters_and_undecodable_names_are_escaped():
    assert printable("a\x1b[2Jb\udcff") == "a\\x1b[2Jb\\udcff"
    assert printable("two\nlines é") == "two\nlines é"


def test_durations_read_as_people_write_them():
    assert [duration(s) for s in (9.34, 65, 3599.9, 7380)] == ["9.3 s", "1m05s", "1h00m", "2h03m"]


def test_tracking_changes_nothing(capsys):
    for progress in (QUIET, Lines(every=0), Live()):
        assert list(progress.track(range(3), 3, "work")) == [0, 1, 2]
    assert "work: 1 of 3" in capsys.readouterr().err


def test_off_a_terminal_lines_are_plain(capsys):
    progress = progress_for(quiet=False)
    progress.say("hello")
    captured = capsys.readouterr()
    assert captured.err == "hello\n"
    assert captured.out == ""
    assert progress_for(quiet=True) is QUIET
