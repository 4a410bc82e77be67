"""The label loop."""

from shoebox.data.patch import read_patch
from shoebox.data.sources import open_source

HOSTILE = "<img src=x onerror=alert(1)>"


def test_suspects_come_in_order_with_classes_by_number(client_of, work):
    told = client_of(work).get("/v1/labels/0").json()
    names = told["classes"]
    shown = [(one["path"], names[one["given"]], names[one["suggested"]], one["decided"]) for one in told["suspects"]]
    assert shown == [
        ("dog/0.jpg", "dog", HOSTILE, None),
        (f"{HOSTILE}/1.jpg", HOSTILE, "=cat", None),
        ("=cat/2.jpg", "=cat", "dog", None),
    ]


def test_a_decision_is_kept_at_once_and_taken_back(client_of, work):
    client = client_of(work)
    told = client.get("/v1/labels/0").json()
    mark, cat = told["mark"], told["classes"].index("=cat")
    assert client.put(f"/v1/labels/0/{mark}/1", json={"label": cat}).status_code == 204
    assert read_patch(work / "labels.csv")[f"{HOSTILE}/1.jpg"].label == "=cat"
    assert client.put(f"/v1/labels/0/{mark}/0", json={"label": -1}).status_code == 204
    assert [one["decided"] for one in client.get("/v1/labels/0").json()["suspects"]] == [-1, cat, None]
    corrected = open_source(work)
    label = corrected.labels[corrected.paths.index(f"{HOSTILE}/1.jpg")]
    assert len(corrected) == 35 and corrected.classes[label] == "=cat"
    for number in (0, 1):
        assert client.delete(f"/v1/labels/0/{mark}/{number}").status_code == 204
    assert not (work / "labels.csv").exists() and len(open_source(work)) == 36


def test_a_left_out_picture_can_still_be_decided_after_a_restart(client_of, work):
    (work / "labels.csv").write_text("path,label,why\ndog/0.jpg,,\n")
    told = client_of(work).get("/v1/labels/0").json()
    assert [one["decided"] for one in told["suspects"]] == [-1, None, None]


def test_a_new_check_makes_old_numbers_void(client_of, work):
    client = client_of(work)
    mark = client.get("/v1/labels/0").json()["mark"]
    table = work / ".shoebox" / "check.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:1]) + "\n")
    assert client.put(f"/v1/labels/0/{mark}/0", json={"label": 0}).status_code == 409
    assert client.get("/v1/labels/0").json()["suspects"] == []


REFUSED = [
    ("/v1/labels/0/{mark}/3", {"label": 0}, 404),
    ("/v1/labels/1/{mark}/0", {"label": 0}, 404),
    ("/v1/labels/0/{mark}/0", {"label": 3}, 422),
    ("/v1/labels/0/{mark}/0", {"label": -2}, 422),
    ("/v1/labels/0/{mark}/0", {"label": 0, "path": "x"}, 422),
    ("/v1/labels/0/zz/0", {"label": 0}, 422),
]


def test_what_makes_no_sense_is_refused(client_of, work):
    client = client_of(work)
    mark = client.get("/v1/labels/0").json()["mark"]
    for path, body, status in REFUSED:
        assert client.put(path.format(mark=mark), json=body).status_code == status, path
    assert not (work / "labels.csv").exists()


def test_another_sites_page_decides_nothing(client_of, work):
    client = client_of(work)
    mark = client.get("/v1/labels/0").json()["mark"]
    foreign = {"origin": "http://evil.example"}
    assert client.put(f"/v1/labels/0/{mark}/0", json={"label": 0}, headers=foreign).status_code == 403
    assert not (work / "labels.csv").exists()


def test_another_programs_labels_are_left_alone(client_of, work):
    client = client_of(work)
    mark = client.get("/v1/labels/0").json()["mark"]
    (work / "labels.csv").write_text("image;class\n")
    answer = client.put(f"/v1/labels/0/{mark}/0", json={"label": 0})
    assert answer.status_code == 409 and "labels.csv" in answer.json()["detail"]
    assert (work / "labels.csv").read_text() == "image;class\n"


def test_a_suspect_is_shown_re_encoded(client_of, work):
    client = client_of(work)
    mark = client.get("/v1/labels/0").json()["mark"]
    assert client.get(f"/v1/labels/0/{mark}/1/picture").content[8:12] == b"WEBP"
    (work / HOSTILE / "1.jpg").write_text("<svg>")
    assert client.get(f"/v1/labels/0/{mark}/1/picture").status_code == 404


def test_without_folders_or_a_check_there_is_nothing_to_decide(client_of, work):
    assert client_of().get("/v1/labels/0").status_code == 403
    (work / ".shoebox" / "check.csv").unlink()
    client = client_of(work)
    assert client.get("/v1/labels/0").status_code == 404 and client.get("/checks/0").status_code == 404
