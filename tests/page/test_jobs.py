"""Commands in processes of their own."""

import time

import pytest

from shoebox.page.jobs import LOG_BYTES, Busy, Job, Jobs


@pytest.fixture
def jobs(tmp_path):
    made = Jobs(tmp_path / "jobs")
    yield made
    made.close()


def ended(job, seconds=60):
    end = time.monotonic() + seconds
    while job.state in ("running", "stopping"):
        assert time.monotonic() < end, job.log()
        time.sleep(0.02)
    return job


def test_a_job_runs_a_verb_and_keeps_its_answer(jobs, make_folder, tmp_path):
    folder = make_folder(tmp_path / "--pets", {"cat": 2, "dog": 1})
    job = ended(jobs.start("data", "Looking", ["--", str(folder)], why="a test"))
    assert job.state == "done" and job.answer()["pictures"] == 3 and job.about == {"why": "a test"}
    assert jobs.get(1) is job and jobs.get(2) is None and jobs.all() == [job]


def test_a_failure_says_why(jobs, tmp_path):
    job = ended(jobs.start("data", "Looking", ["--", str(tmp_path / "nowhere")]))
    assert job.state == "failed" and "nowhere" in job.log() and job.answer() is None


def test_one_job_at_a_time_and_it_can_be_stopped(jobs, make_folder, tmp_path):
    folder = make_folder(tmp_path / "pets", {"cat": 8, "dog": 8})
    job = jobs.start("train", "Training", [f"--run={tmp_path / 'run'}", "--epochs=10000", "--", str(folder)])
    with pytest.raises(Busy, match="Training is running"):
        jobs.start("data", "Looking", [str(folder)])
    jobs.stop(99)
    assert job.state == "running"
    jobs.stop(job.number)
    assert ended(job).state == "stopped" and job.seconds < 60
    ended(jobs.start("data", "Looking", [str(folder)]))


def test_what_runs_ends_with_the_server(make_folder, tmp_path):
    jobs = Jobs(tmp_path / "jobs")
    folder = make_folder(tmp_path / "pets", {"cat": 8, "dog": 8})
    job = jobs.start("train", "Training", [f"--run={tmp_path / 'run'}", "--epochs=10000", "--", str(folder)])
    jobs.close()
    assert ended(job, 1).state == "stopped"
    with pytest.raises(Busy, match="ending"):
        jobs.start("data", "Looking", [str(folder)])


def test_a_long_log_is_cut_at_a_line(tmp_path):
    job = Job(1, "train", "Training", (), tmp_path)
    assert job.log() == "" and job.answer() is None
    (tmp_path / "log.txt").write_text("\n".join(f"line {n}" for n in range(5000)))
    assert len(job.log()) <= LOG_BYTES and job.log().startswith("line ") and job.log().endswith("line 4999")
    (tmp_path / "answer.json").write_text("[1")
    assert job.answer() is None
