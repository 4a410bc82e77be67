"""Every check finds what was planted for it, and nothing in a clean set; the table can be read back."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from shoebox.base.errors import ShoeboxError
from shoebox.data import checks
from shoebox.data.check import CHECKS, SEVERITIES, Finding, gather, read_report, real_names, run_checks
from shoebox.data.sources import open_source
from shoebox.data.survey import survey

GROUPS = [getattr(checks, name).__name__ for name in checks.__all__]
MINE = [name for name, check in CHECKS.items() if check.__module__ in GROUPS]


def scene(seed, size=(72, 64)):
    """A picture with structure at all scales, as photographs have: noise whose power falls with frequency squared."""
    draw = np.random.default_rng(seed)
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width) * width)
    field = np.fft.ifft2(np.fft.fft2(draw.normal(size=(3, height, width))) / np.maximum(frequency, 1)).real
    field = 128 + 45 * (field - field.mean()) / field.std()
    return Image.fromarray(field.transpose(1, 2, 0).clip(0, 255).astype(np.uint8))


def save(image, path, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **how)
    return path


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """40 unrelated pictures of two classes."""
    root = tmp_path_factory.mktemp("clean")
    for i in range(40):
        path = root / ("cat", "dog")[i % 2] / f"picture {i * 37 % 1000}.jpg"
        save(scene(i, (72 + i % 5, 64 + i % 3)), path, quality=88)
    return root


@pytest.fixture
def planted(clean, tmp_path):
    """A copy of it that a test may spoil."""
    import shutil

    return shutil.copytree(clean, tmp_path / "pictures")


def check(root, *names):
    index = open_source(root)
    report = run_checks(gather(index, survey(index)), names or MINE)
    return {f.name: f for f in report.findings}, report


def paths(finding):
    return sorted(row.path for row in finding.rows)


def test_nothing_is_found_in_clean_pictures(clean):
    found, report = check(clean)
    assert not found, [f.means for f in report.findings]
    assert report.worst() is None
    assert "nothing found by" in report.text("pictures/")


def test_files(planted):
    (planted / "cat" / "broken.jpg").write_bytes(b"")
    whole = save(scene(100), planted / "cat" / "cut.jpg").read_bytes()
    (planted / "cat" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    save(scene(101), planted / "dog" / "really.png", format="JPEG")
    save(scene(102).convert("CMYK"), planted / "dog" / "cmyk.jpg")
    save(Image.fromarray(np.asarray(scene(103))[..., 0].astype(np.uint16) * 257), planted / "dog" / "deep.png")
    clear = scene(104).convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 90))
    save(clear, planted / "dog" / "clear.png")
    save(scene(105), planted / "dog" / "moving.gif", save_all=True, append_images=[scene(106)])
    turned = Image.Exif()
    turned[0x0112] = 6
    save(scene(107), planted / "dog" / "turned.jpg", exif=turned)
    found, report = check(planted, "unreadable", "misnamed", "odd_modes", "rotated")
    assert paths(found["unreadable"]) == ["cat/broken.jpg", "cat/cut.jpg"]
    assert found["unreadable"].severity == "error"
    assert paths(found["misnamed"]) == ["dog/really.png"]
    seen = {row.path: row.detail for row in found["odd_modes"].rows}
    assert seen.keys() == {"dog/cmyk.jpg", "dog/deep.png", "dog/clear.png", "dog/moving.gif"}
    assert "16-bit" in seen["dog/deep.png"]
    assert "transparent" in seen["dog/clear.png"]
    assert "animated" in seen["dog/moving.gif"]
    assert paths(found["rotated"]) == ["dog/turned.jpg"]
    assert report.worst() == "error"


def test_sizes(planted):
    save(scene(1).resize((6, 6)), planted / "cat" / "icon.png")
    save(scene(2, (400, 50)), planted / "cat" / "long.png")
    found, _ = check(planted, "tiny", "stretched", "huge")
    assert paths(found["tiny"]) == ["cat/icon.png"]
    assert found["tiny"].rows[0].action == "quarantine"
    assert paths(found["stretched"]) == ["cat/long.png"]
    assert "huge" not in found


def test_a_huge_picture(planted, monkeypatch):
    monkeypatch.setattr("shoebox.data.checks.shapes.HUGE", 90_000)
    save(scene(2, (400, 300)), planted / "cat" / "large.jpg")
    assert paths(check(planted, "huge")[0]["huge"]) == ["cat/large.jpg"]


def test_quality(planted):
    from PIL import ImageFilter

    save(Image.new("RGB", (72, 64), (90, 20, 130)), planted / "cat" / "blank.png")
    save(ImageEnhance.Brightness(scene(200)).enhance(0.08), planted / "cat" / "dark.png")
    save(
        Image.fromarray((250 + (np.asarray(scene(201)) // 9 - 14.0)).clip(0, 255).astype(np.uint8)),
        planted / "cat" / "bright.png",
    )
    placeholder = Image.new("RGB", (72, 64), (210, 210, 210))
    ImageDraw.Draw(placeholder).text((8, 24), "no image", (60, 60, 60))
    save(placeholder, planted / "cat" / "placeholder.png")
    save(scene(202, (300, 260)).filter(ImageFilter.GaussianBlur(12)), planted / "cat" / "soft.png")
    found, _ = check(planted, "blank", "dark", "bright", "low_information", "blurred")
    assert {name: paths(finding) for name, finding in found.items()} == {
        "blank": ["cat/blank.png"],
        "dark": ["cat/dark.png"],
        "bright": ["cat/bright.png"],
        "low_information": ["cat/placeholder.png"],
        "blurred": ["cat/soft.png"],
    }


def test_classes(planted):
    for i in range(5):
        save(scene(800 + i), planted / "dog" / f"more-{i}.png")
    save(scene(900), planted / "Cat " / "1.jpg")
    (planted / "empty").mkdir()
    found, _ = check(planted, "imbalance", "small_classes", "class_names")
    assert found["small_classes"].rows[0].label == "empty"
    assert {row.label for row in found["class_names"].rows} == {"cat", "Cat "}
    assert found["class_names"].severity == "error"
    assert found["imbalance"].chart[1][0][:2] == ("dog", 25.0)


CHANGES = {
    "copied": lambda p: p,
    "quality 30": lambda p: jpeg(p, 30),
    "60 %": lambda p: jpeg(p.resize((round(p.width * 0.6), round(p.height * 0.6)), Image.Resampling.LANCZOS)),
    "mirrored": lambda p: jpeg(p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "cropped by 5 %": lambda p: jpeg(p.crop((round(p.width * 0.05), 0, p.width, round(p.height * 0.95)))),
    "brighter": lambda p: jpeg(ImageEnhance.Brightness(p).enhance(1.2)),
    "darker": lambda p: jpeg(ImageEnhance.Brightness(p).enhance(0.8)),
}  # fmt: skip


def jpeg(image, quality=90):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def pairs_of(finding):
    groups = {}
    for row in finding.rows:
        groups.setdefault(row.group, set()).add(row.path)
    return list(groups.values())


@pytest.mark.parametrize("where", ["same class", "other class", "other part"])
def test_copies_however_changed(tmp_path, where):
    """Each of ten originals in each way; every group holds an original and all its copies, and nothing else."""
    root = tmp_path / "pictures"
    for seed in range(60):
        save(scene(seed, (96, 72)), root / "train" / ("cat", "dog")[seed % 2] / f"{seed}.png")
        save(scene(1000 + seed, (96, 72)), root / "test" / ("cat", "dog")[seed % 2] / f"{1000 + seed}.png")
    for seed in range(10):
        for number, change in enumerate(CHANGES.values()):
            part = "test" if where == "other part" else "train"
            label = ("cat", "dog")[(seed + (where == "other class")) % 2]
            save(change(scene(seed, (96, 72))), root / part / label / f"{seed}-{number}.png")
    found, _ = check(root, "exact_copies", "near_copies", "two_labels", "leaks")
    exact, near = pairs_of(found["exact_copies"]), pairs_of(found["near_copies"])
    assert len(exact) == 10
    assert all(len({stem(p) for p in group}) == 1 for group in near), "pictures that have nothing in common"
    together = sum(len(group) for group in near)
    assert together >= 0.95 * 80
    assert ("two_labels" in found) == (where == "other class")
    assert ("leaks" in found) == (where == "other part")
    if where == "other class":
        assert found["two_labels"].severity == "error"
        assert found["two_labels"].count >= 76
    if where == "other part":
        assert found["leaks"].count >= 66
        kept = [row for row in found["leaks"].rows if row.action == ""]
        assert all(row.path.startswith("test/") for row in kept), "what is dropped is in train"


def stem(path):
    return path.rpartition("/")[2].partition(".")[0].partition("-")[0]


def test_a_video_is_a_sequence_and_numbered_pictures_are_none(planted):
    wide = scene(500, (300, 64))
    for i in range(8):
        save(wide.crop((i * 2, 0, i * 2 + 96, 64)), planted / "cat" / f"film_{i:04}.jpg")
        save(scene(600 + i), planted / "cat" / f"still_{i:04}.jpg")
    found, _ = check(planted, "sequences")
    assert paths(found["sequences"]) == [f"cat/film_{i:04}.jpg" for i in range(8)]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three classes of 40 pictures with nothing to tell them by but what they show."""
    root = tmp_path_factory.mktemp("many")
    for i in range(120):
        save(scene(i, (48, 40)), root / "abc"[i % 3] / f"{i}.jpg", quality=90)
    return root


SPOILT = {
    "JPEG quality": lambda p, path: save(p, path, quality=60),
    "border": lambda p, path: save(framed(p), path, quality=90),
    "picture size": lambda p, path: save(p.resize((56, 44)), path, quality=90),
    "brightness": lambda p, path: save(ImageEnhance.Brightness(p).enhance(0.3), path, quality=90),
    "file type": lambda p, path: save(p, path.with_suffix(".png")),
    "file name": lambda p, path: save(p, path.with_name("scan-" + path.name), quality=90),
}  # fmt: skip


def framed(image):
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=(250, 60, 40), width=2)
    return image


@pytest.mark.parametrize("cue", SPOILT)
def test_a_planted_shortcut_is_reported(many, tmp_path, cue):
    import shutil

    assert "shortcuts" not in check(many, "shortcuts")[0]
    root = shutil.copytree(many, tmp_path / "pictures")
    for path in sorted((root / "b").iterdir()):
        image = Image.open(path).convert("RGB")
        path.unlink()
        SPOILT[cue](image, path)
    finding = check(root, "shortcuts")[0]["shortcuts"]
    told = {(row.label, row.detail.partition(" alone")[0]) for row in finding.rows}
    assert ("b", cue) in told
    assert {label for label, _ in told} == {"b"}
    assert finding.severity == ("note" if cue == "file name" else "error")


def test_the_table_is_read_back_and_the_json_is_plain(planted, tmp_path):
    save(scene(0), planted / "cat" / "=copy.png")
    save(scene(0), planted / "cat" / "copy 2.png")
    _, report = check(planted)
    report.write(tmp_path / "check.csv")
    rows = read_report(tmp_path / "check.csv")
    assert sum(row["check"] == "exact_copies" for row in rows) == 2
    assert "'=copy.png" not in {row["path"] for row in rows}, "only a formula is made harmless"
    made = report.to_dict()
    assert json.loads(json.dumps(made)) == made
    assert made["worst"] == "warning"
    text = report.text("pictures/", "check.csv")
    assert "exact copies" in text
    assert "shoebox fix pictures/ --from check.csv --drop-duplicates" in text
    (tmp_path / "other.csv").write_text("x\n1\n")
    with pytest.raises(ShoeboxError, match="not the table of shoebox check"):
        read_report(tmp_path / "other.csv")


def test_names_that_are_shown_alike_are_left_out():
    assert real_names(["a", "=b", "bad\udcff", "bad\\xff"]) == {"a": "a", "'=b": "=b"}


@pytest.mark.parametrize("counts", [{"a": 1, "b": 1}, {"pile": 3}], ids=["two pictures", "no labels"])
def test_every_check_bears_tiny_and_unlabelled_data(make_folder, tmp_path, counts):
    index = open_source(make_folder(tmp_path / "few", counts))
    evidence = gather(index, survey(index))
    for name in MINE:
        found = CHECKS[name](evidence)
        assert found is None or (isinstance(found, Finding) and found.severity in SEVERITIES), name


def test_nothing_can_be_read(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"no")
    found, _ = check(tmp_path)
    assert found["unreadable"].count == 2


def test_a_class_most_of_which_is_framed_is_told(many, tmp_path):
    import shutil

    root = shutil.copytree(many, tmp_path / "pictures")
    for path in sorted((root / "b").iterdir())[8:]:
        framed(Image.open(path).convert("RGB")).save(path, quality=90)
    assert [row.label for row in check(root, "shortcuts")[0]["shortcuts"].rows] == ["b"]


def test_one_picture_is_said_to_be_one():
    found = Finding("note", 1, "pictures that are there again, of 1 originals", "")
    assert found.said == "picture that is there again, of 1 original"
    assert Finding("note", 1, "classes of few", "").said == "class of few"
    assert Finding("note", 2, "pictures of 1 groups", "").said == "pictures of 1 group"
