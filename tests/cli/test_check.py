"""check, fix and undo as a new user meets them."""

import json


def test_check_fix_undo(shoebox, make_folder, tmp_path):
    root = make_folder(tmp_path / "pictures", {"cat": 30, "dog": 30})
    (root / "dog" / "copy.png").write_bytes((root / "dog" / "3.png").read_bytes())
    (root / "cat" / "broken.png").write_bytes(b"")
    report = json.loads(shoebox("check", "pictures", "--json", "--quiet", "--strict", code=1).stdout)
    assert {"unreadable", "exact_copies"} <= {finding["name"] for finding in report["findings"]}
    text = shoebox("check", "pictures", "--html", "page.html").stdout
    assert "shoebox fix pictures --from check.csv" in text
    assert (tmp_path / "page.html").stat().st_size < 1e6
    assert "nothing was changed" in shoebox("fix", "pictures", "--from", "check.csv").stdout
    shoebox("fix", "pictures", "--from", "check.csv", "--drop-duplicates", "--quarantine", "--move")
    assert not (root / "cat" / "broken.png").exists()
    assert "2 files are as before" in shoebox("undo", "pictures").stdout
    assert (root / "cat" / "broken.png").exists()
    assert (root / "dog" / "copy.png").exists()
    assert "make it with shoebox check" in shoebox("fix", "pictures", "--from", "none.csv", code=1).stderr
