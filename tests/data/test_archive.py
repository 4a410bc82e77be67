import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shoebox.base.errors import ShoeboxError
from shoebox.data import archive as archives
from shoebox.data import stash as stashes
from shoebox.data.sources import open_source

Make = Callable[..., Path]


def packed(folder: Path, path: Path, top: str = "") -> Path:
    """All of a folder as the archive that its name asks for."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for found in sorted(folder.rglob("*")):
                file.write(found, os.path.join(top, found.relative_to(folder)))  # noqa: PTH118
    else:
        kind = {".tar": "w", ".tgz": "w:gz"}.get(path.suffix, f"w:{path.suffix[1:]}")
        with tarfile.open(path, kind) as file:
            file.add(folder, top or ".")
    return path


def with_members(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """A tar of (name, type, content or target of a link)."""
    with tarfile.open(path, "w") as file:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content.decode()
                file.addfile(info)
    return path


@pytest.fixture
def picture(make_picture: Callable[..., Path], tmp_path: Path) -> bytes:
    return make_picture(tmp_path / "one.png").read_bytes()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.tar.bz2"])
@pytest.mark.parametrize("top", ["", "wrapper"])
def test_an_archive_is_the_folder_it_was_made_from(make_folder: Make, tmp_path: Path, name: str, top: str) -> None:
    folder = make_folder(tmp_path / "in", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "train/empty": 0})
    path = packed(folder, tmp_path / name, top)
    cache = tmp_path / "cache"
    index, plain = open_source(path, cache=cache), open_source(folder)
    assert (index.paths, index.classes, index.part.tolist()) == (plain.paths, plain.classes, plain.part.tolist())
    (unpacked,) = (cache / "archives").iterdir()
    before = unpacked.stat().st_mtime_ns
    path.rename(tmp_path / f"again-{name}")
    again = open_source(tmp_path / f"again-{name}", cache=cache)
    assert unpacked.stat().st_mtime_ns == before, "the content was there already"
    assert again.fingerprint() == index.fingerprint()


def test_unpacking_elsewhere_gives_the_same_fingerprint(make_folder: Make, tmp_path: Path) -> None:
    path = packed(make_folder(tmp_path / "in", {"cat": 2, "dog": 2}), tmp_path / "a.zip")
    prints = {open_source(path, cache=tmp_path / c).fingerprint() for c in ("one", "two")}
    assert len(prints) == 1


def test_an_archive_may_hold_a_table(make_folder: Make, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", {"pictures": 2})
    (folder / "labels.csv").write_text(
        "path,label\npictures/0.png,a\npictures/1.png,b\n../../one.png,a\n/etc/passwd,b\n"
    )
    index = open_source(packed(folder, tmp_path / "a.tar.gz", "top"), cache=tmp_path / "cache")
    assert index.classes == ("a", "b") and len(index) == 2
    assert {s.reason for s in index.skipped} == {"leads out of the archive"}


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "a\\..\\..\\out.png"])
@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_case_65_an_archive_that_writes_outside_is_refused(
    tmp_path: Path, picture: bytes, name: str, kind: str
) -> None:
    path = tmp_path / f"evil{kind}"
    if kind == ".tar":
        with_members(path, ("cat/1.png", tarfile.REGTYPE, picture), (name, tarfile.REGTYPE, picture))
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("cat/1.png", picture)
            file.writestr(name, picture)
    with pytest.raises(ShoeboxError, match="would be written outside"):
        open_source(path, cache=tmp_path / "deep/cache")
    assert not list(tmp_path.rglob("out.png")) and not list((tmp_path / "deep/cache/archives").iterdir())


def test_links_and_devices_are_left_out_and_listed(tmp_path: Path, picture: bytes) -> None:
    path = with_members(
        tmp_path / "a.tar",
        ("cat/1.png", tarfile.REGTYPE, picture),
        ("dog/1.png", tarfile.REGTYPE, picture),
        ("cat/link.png", tarfile.SYMTYPE, b"/etc/passwd"),
        ("cat/hard.png", tarfile.LNKTYPE, b"cat/1.png"),
        ("cat/fifo.png", tarfile.FIFOTYPE, b""),
        ("out", tarfile.SYMTYPE, b".."),
        ("out/x.png", tarfile.REGTYPE, picture),
        ("cat/1.png", tarfile.REGTYPE, b"other"),
        ("cat/" + "x" * 300 + ".png", tarfile.REGTYPE, picture),
        ("cat/.hidden.png", tarfile.REGTYPE, picture),
    )
    for _ in range(2):  # the second time from the cache
        index = open_source(path, cache=tmp_path / "cache")
        assert index.paths == ("cat/1.png", "dog/1.png", "out/x.png")
        reasons = {s.path[:12]: s.reason for s in index.skipped}
        assert reasons["cat/link.png"] == reasons["cat/hard.png"] == "a link or device in an archive"
        assert reasons["cat/fifo.png"] == reasons["out"] == "a link or device in an archive"
        assert reasons["cat/1.png"] == "the archive holds two files of this name"
        assert "File name too long" in reasons["cat/xxxxxxxx"]
        assert index.file(0).read_bytes() == picture


def test_damaged_archives_are_refused_and_leave_nothing(make_folder: Make, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "in", {"cat": 3, "dog": 3})
    for name in ("a.zip", "a.tar", "a.tar.gz", "a.tar.xz"):
        data = packed(folder, tmp_path / name).read_bytes()
        for cut in (len(data) // 3, len(data) // 2):
            (tmp_path / name).write_bytes(data[:cut])
            with pytest.raises(ShoeboxError, match=rf"{name}: .*(damaged|cannot be unpacked)"):
                open_source(tmp_path / name, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache/archives").iterdir())


def test_an_encrypted_zip_says_so(tmp_path: Path, picture: bytes) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cat/1.png", picture)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ShoeboxError, match="encrypted"):
        open_source(path, cache=tmp_path / "cache")


def test_bombs_are_refused_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_OF_RATIO", 1 << 20)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/1.png", b"\0" * (8 << 20))
    with pytest.raises(ShoeboxError, match="grows to over 100 times its size"):
        open_source(path, cache=tmp_path / "cache")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 0)
    with pytest.raises(ShoeboxError, match="more than 0 files"):
        open_source(path, cache=tmp_path / "cache")


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_members(tmp_path / "a.tar", ("cat/1.png", tarfile.REGTYPE, picture))
    usage = archives.shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ShoeboxError, match="does not fit the disk"):
        open_source(path, cache=tmp_path / "cache")


def test_two_at_once_and_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "made"

    def build(folder: Path) -> None:
        (folder / "mine").touch()
        if not target.exists():  # another process ends first
            target.mkdir()
            (target / "theirs").touch()

    left = tmp_path / ".unfinished-old"
    left.mkdir()
    os.utime(left, (1, 1))
    assert stashes.stash(target, build) == target
    assert [p.name for p in target.iterdir()] == ["theirs"] and [p.name for p in tmp_path.iterdir()] == ["made"]
