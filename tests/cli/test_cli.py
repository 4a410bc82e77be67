"""Each verb as a new user meets it: results on stdout, the rest on stderr, mistakes in one line."""

import json
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

TINY = ["--set", "model=simple(width=8)", "--set", "size=16", "--set", "batch_size=8", "--set", "tensorboard=false"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for name, tint in (("cat", (210, 60, 60)), ("dog", (60, 60, 210))):
        (root / name).mkdir()
        for number in range(24):
            Image.fromarray(draw.normal(tint, 40, (18, 20, 3)).clip(0, 255).astype("uint8")).save(
                root / name / f"{number}.png"
            )
    (root / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return root


def test_the_whole_journey(shoebox, pictures, tmp_path):
    trained = shoebox("train", pictures, "--epochs", 2, "--run", "run", "--json", *TINY)
    result = json.loads(trained.stdout)
    assert result.keys() >= {"run", "model", "epochs", "best_epoch", "seconds", "val", "test", "skipped"}
    assert result["skipped"] == 1
    assert result["test"].keys() >= {"accuracy", "macro_f1", "loss"}
    assert "epoch 2/2" in trained.stderr
    names = {"curves", "six_metrics", "learning_rate", "confusion_matrix", "class_distribution", "sample_grid",
             "augmentation_grid", "wrong_grid"}  # fmt: skip
    assert {p.stem for p in (tmp_path / "run" / "results").glob("*.png")} >= names
    assert "0m" in (tmp_path / "run" / "results" / "epochs.md").read_text()
    assert "broken.jpg" in (tmp_path / "run" / "skipped.csv").read_text()

    scored = json.loads(shoebox("evaluate", "run", pictures, "--json", "--quiet").stdout)
    assert scored["part"] == "test"
    assert scored["accuracy"] == pytest.approx(result["test"]["accuracy"])
    assert "precision" in shoebox("evaluate", "run", pictures).stdout

    text = shoebox("predict", "run", pictures / "cat" / "0.png", pictures / "cat" / "broken.jpg").stdout.splitlines()
    assert text[0].startswith(str(pictures / "cat" / "0.png"))
    assert "not read" in text[1]
    shoebox("predict", "run", pictures, "--out", "out.csv", "--quiet")
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == ["path", "label", "confidence", "label_2", "confidence_2", "status"]
    assert len(table) == 49
    assert (table["status"] == "ok").sum() == 48


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nowhere"], 2, "no such file or folder"),
        (["train", "empty"], 1, "picture"),
        (["train", "one"], 1, "1 class"),
        (["train", "unreadable"], 1, "class"),
        (["train", "two", "--recipe", "none"], 2, "no recipe"),
        (["train", "two", "--set", "lr"], 2, "key=value"),
        (["train", "two", "--set", "color=red"], 2, "unknown setting"),
        (["train", "two", "--epochs", "0"], 2, "epochs"),
        (["train", "two", "--model", "vggg"], 2, "vggg"),
        (["train", "two", "--set", "augment=[flop]"], 2, "flop"),
        (["train", "two", "--device", "quantum"], 2, "quantum"),
        (["train", "two", "--resume"], 2, "--run"),
        (["evaluate", "nowhere", "two"], 2, "not a trained classifier"),
        (["predict", "nowhere", "two"], 2, "not a trained classifier"),
        (["predict", "empty", "nothing*"], 2, "nothing*"),
        (["data", "nowhere"], 2, "no such file or folder"),
        (["fly"], 2, "fly"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_clear_line(shoebox, tmp_path, make_folder, arguments, code, said):
    (tmp_path / "empty").mkdir()
    make_folder(tmp_path / "one", {"cat": 3})
    make_folder(tmp_path / "two", {"cat": 3, "dog": 3})
    for name in ("cat", "dog"):
        (tmp_path / "unreadable" / name).mkdir(parents=True)
        (tmp_path / "unreadable" / name / "a.jpg").write_bytes(b"no picture")
    done = shoebox(*arguments, code=code)
    lines = [line for line in done.stderr.splitlines() if line.lower().startswith("error")]
    assert len(lines) == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_the_other_verbs_print_json(shoebox, pictures):
    models = json.loads(shoebox("models", "--json").stdout)["models"]
    assert {"simple", "alexnet", "vgg", "resnet18", "speednet"} <= {row["name"] for row in models}
    data = json.loads(shoebox("data", pictures, "--json").stdout)
    assert data["counts"]["cat"]["undecided"] == 25
    assert json.loads(shoebox("cache", "--json").stdout).keys() == {"packs"}
    assert json.loads(shoebox("cache", "--clear", "--json").stdout).keys() == {"freed_bytes"}


def test_networks_of_ones_own(shoebox, pictures, tmp_path):
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "from shoebox import MODELS, Network\n\n"
        "class Mine(Network):\n"
        "    def __init__(self, classes, width):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "        self.head = nn.Linear(width, classes)\n"
        "    def features(self, x):\n"
        "        return self.body(x)\n"
        "    def stages(self):\n"
        "        return [('body', self.body)]\n\n"
        "@MODELS.register\n"
        "def my_net(classes, size, *, width=8):\n"
        "    return Mine(classes, width)\n"
    )
    own = ["--import", "my_nets.py"]
    options = ["--epochs", 1, "--run", "run", "--json", "--set", "tensorboard=false"]
    result = json.loads(shoebox("train", pictures, *own, "--model", "my_net(width=16)", *options).stdout)
    assert result["model"] == "my_net(width=16)"
    shoebox("predict", "run", pictures / "cat" / "0.png", *own)
    assert "my_net" in shoebox("predict", "run", pictures / "cat" / "0.png", code=2).stderr


def test_augmentations_are_shown_without_training(shoebox, pictures, tmp_path):
    shoebox("train", pictures, "--show-augment", "--run", "look")
    assert (tmp_path / "look" / "augmentation_grid.png").stat().st_size > 1000
    assert not (tmp_path / "look" / "model.safetensors").exists()


def test_control_c_saves_and_resume_goes_on(pictures, tmp_path, run_command):
    command = ["shoebox", "train", str(pictures), "--run", "run", *TINY]
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--epochs", "100000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 2"):
            break
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    rest = process.stderr.read()
    assert process.wait() == 130
    assert time.monotonic() - start < 10
    assert "--resume" in rest
    assert "Traceback" not in rest
    process.stderr.close()
    epochs = len(pd.read_csv(tmp_path / "run" / "history.csv"))
    done = run_command([*command, "--epochs", str(epochs + 1), "--resume"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == epochs + 1
