"""Trainings, checks and reports by way of the page."""

import pytest

from shoebox.page.jobs import Jobs
from shoebox.page.working import history, recipes


@pytest.fixture
def asked(monkeypatch):
    """What jobs were started with, instead of starting them."""
    started = []
    real = Jobs.start

    def start(self, kind, title, arguments, **about):
        started.append([kind, *arguments])
        return real(self, "data", title, ["."], **about)

    monkeypatch.setattr(Jobs, "start", start)
    return started


def test_a_training_is_the_command_lines_own(client_of, work, asked, tmp_path):
    client = client_of(work)
    answer = client.post("/v1/jobs", json={"kind": "train", "folder": 0, "minutes": 0.5})
    assert answer.status_code == 201 and answer.json()["about"]["run"] == str(tmp_path / "runs" / "work")
    run = f"--run={tmp_path / 'runs' / 'work'}"
    assert asked == [["train", run, "--minutes=0.5", "--", str(work)]]


def test_a_training_by_a_recipe(client_of, work, asked, tmp_path):
    wanted = {"kind": "train", "recipe": "fast", "epochs": 3, "name": "three"}
    assert client_of(work).post("/v1/jobs", json=wanted).status_code == 201
    assert asked == [["train", f"--run={tmp_path / 'runs' / 'three'}", "--recipe=fast", "--epochs=3", "--", str(work)]]


def test_a_check_leaves_its_table_beside_the_pictures(client_of, work, asked):
    assert client_of(work).post("/v1/jobs", json={"kind": "check"}).status_code == 201
    kept = [f"--csv={work / '.shoebox/check.csv'}", f"--html={work / '.shoebox/check.html'}"]
    assert asked == [["check", "--labels", *kept, "--", str(work)]]


def test_a_report_is_made_of_the_run_that_is_served(client_of, run, asked):
    client = client_of()
    assert client.get("/v1/workshop").json()["report"] is False
    assert client.post("/v1/jobs", json={"kind": "report"}).status_code == 201
    assert asked == [["report", f"--out={run / 'report.html'}", "--", str(run)]]


REFUSED = [
    ({"kind": "train", "folder": 5}, 404),
    ({"kind": "train", "recipe": "../../evil.yaml"}, 422),
    ({"kind": "train", "recipe": "cifar-ladder"}, 422),
    ({"kind": "train", "minutes": 1, "epochs": 1}, 422),
    ({"kind": "train", "minutes": 0}, 422),
    ({"kind": "train", "epochs": 1.5}, 422),
    ({"kind": "train", "name": "../elsewhere"}, 422),
    ({"kind": "train", "name": "-x"}, 422),
    ({"kind": "train", "name": "a\u0000b"}, 422),
    ({"kind": "train", "name": "taken"}, 409),
    ({"kind": "train", "data": "/etc"}, 422),
    ({"kind": "sort"}, 422),
]


def test_nothing_else_can_be_started(client_of, work, asked, tmp_path):
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    client = client_of(work)
    for wanted, status in REFUSED:
        assert client.post("/v1/jobs", json=wanted).status_code == status, wanted
    assert asked == []


def test_a_server_without_a_folder_trains_nothing(client_of, asked):
    client = client_of()
    assert client.get("/v1/workshop").json()["folders"] == []
    for kind in ("train", "check"):
        assert client.post("/v1/jobs", json={"kind": kind}).status_code == 403
    assert asked == []


def test_another_sites_page_starts_nothing(client_of, work, asked):
    client = client_of(work)
    for headers in ({"origin": "null"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/v1/jobs", json={"kind": "train"}, headers=headers).status_code == 403
    assert client.post("/v1/jobs", json={"kind": "train"}, headers={"host": "evil.example"}).status_code == 421
    assert asked == []


def test_one_job_at_a_time(client_of, work, asked):
    client = client_of(work)
    assert client.post("/v1/jobs", json={"kind": "check"}).status_code == 201
    second = client.post("/v1/jobs", json={"kind": "check"})
    assert second.status_code == 409 and "is running" in second.json()["detail"]
    assert client.post("/v1/jobs/1/stop").status_code == 202
    assert client.get("/v1/jobs/2").status_code == 404
    assert client.post("/v1/jobs/1/resume").status_code == 409


def test_recipes_are_those_that_train_one_classifier():
    found = recipes()
    assert {"fast", "transfer"} <= {one["name"] for one in found} and "cifar-ladder" not in {
        one["name"] for one in found
    }
    assert not any("shoebox" in one["about"] for one in found)


def test_epochs_are_read_as_far_as_they_are_numbers(tmp_path):
    assert history(tmp_path) == []
    (tmp_path / "history.csv").write_text("epoch,train_loss,val_loss\n1,0.5,nan\n2,inf,\n3,x,0.25\n")
    assert history(tmp_path) == [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2}, {"epoch": 3, "val_loss": 0.25}]
