import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.classifier import Classifier
from shoebox.data.picture import load
from shoebox.data.preprocess import Preprocess
from shoebox.deploy.backends import INPUT, OUTPUTS, open_exported
from shoebox.deploy.certificate import Certificate, Limits, certify, check, fingerprint, validation
from shoebox.deploy.export import EXPORTS, export, summary
from shoebox.deploy.fastest import measure, open_backend, remembered
from shoebox.deploy.graph import export_program, resizing
from shoebox.models import build_model

OTHERS = sorted(set(EXPORTS) - {"onnx", "web"})


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in OTHERS])
def test_every_form_is_certified_over_the_whole_validation_part(name, run, trained):
    result = export(run, name, data=trained[1])
    certificate = Certificate.from_dict(result["certificate"])
    assert certificate.passed and certificate.pictures == len(validation(run)[0]) > 0
    assert certificate.agreement >= (0.99 if name == "onnx-int8" else 0.999)
    assert check(run / "exports" / name)["backend"] == name
    assert name in summary(result)


def test_an_onnx_file_takes_any_number_of_raw_pictures_and_gives_calibrated_probabilities(exported, trained):
    run, data = trained
    files = sorted(data.rglob("*.jpg"))[:7]
    classifier = Classifier.load(run, "cpu")
    stored = np.stack([load(file, classifier.preprocess) for file in files])
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    for count in (1, 2, 7):
        probabilities, features = session.run(OUTPUTS, {INPUT: stored[:count]})
        np.testing.assert_allclose(probabilities, classifier.predict_proba(files[:count]), atol=1e-5)
        assert features.shape[0] == count
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_file_says_what_it_is_in_the_words_of_others(exported):
    model = onnx.load(exported / "model.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["names"] == "{0: 'cat', 1: 'dog', 2: 'owl'}"
    assert (said["task"], said["imgsz"]) == ("classify", "[24, 24]")
    assert json.loads(said["label_names"]) == ["cat", "dog", "owl"]
    assert json.loads(said["pretrained_cfg"])["input_size"] == [3, 16, 16]
    assert json.loads(said["preprocess"])["store"] == 24
    assert "/" not in "".join(node.doc_string for node in model.graph.node), "no path of this machine is left in it"


def test_the_resize_in_the_graph_is_the_one_of_training():
    for store, size in ((24, 16), (16, 24), (37, 16)):
        pixels = torch.rand(2, 3, store, store) * 255
        matrix = resizing(store, size)
        wanted = torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
        torch.testing.assert_close(matrix @ (pixels @ matrix.T), wanted, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("spec", "shift"),
    [
        ("speednet(width=0.25)", False),
        ("speednet(width=0.25)", True),
        ("speednet(width=0.25, depth=3, members=2)", True),
    ],
)
def test_every_look_is_in_the_graph_for_any_number_of_pictures(spec, shift):
    torch.manual_seed(0)
    preprocess = Preprocess(store=20, size=16, mirror=True, shift=shift)
    classifier = Classifier(spec, build_model(spec, classes=3, size=16), ("a", "b", "c"), preprocess, device="cpu")
    graph = export_program(classifier).module()
    for count in (1, 2, 5):
        pictures = torch.randint(0, 256, (count, 20, 20, 3), dtype=torch.uint8)
        probabilities, _ = graph(pictures)
        wanted = classifier.scores(pictures.permute(0, 3, 1, 2))[0].softmax(1)
        torch.testing.assert_close(probabilities, wanted, atol=1e-4, rtol=0)
        if not shift:  # what is shifted up and left is not what its mirror image is, shifted so
            torch.testing.assert_close(graph(pictures.flip(2))[0], probabilities, atol=1e-4, rtol=0)


def test_what_takes_long_is_timed_in_one_round(monkeypatch):
    from shoebox.base.progress import QUIET
    from shoebox.deploy import fastest

    class Counting:
        name, batch, workers, calls = "counting", 1, 1, 0

        def scores(self, pictures):
            self.calls += 1

    monkeypatch.setattr(fastest, "LEAST_SECONDS", 1e-9)  # one pass
    calls = []
    for enough in (0.0, 1e9):
        monkeypatch.setattr(fastest, "ENOUGH_SECONDS", enough)
        backend = Counting()
        speeds = fastest._speeds([backend], np.zeros((4, 2, 2, 3), np.uint8), QUIET)
        assert speeds["counting"][0] > 0
        calls.append(backend.calls)
    assert calls[1] == fastest.ROUNDS * calls[0] > 0


def test_a_certificate_is_refused_when_a_weight_is_altered(exported, trained, tmp_path):
    run, _ = trained
    altered = tmp_path / "altered"
    shutil.copytree(exported, altered)
    model = onnx.load(altered / "model.onnx")
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(weight).copy()
    values.flat[:: max(1, values.size // 50)] += 3
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, altered / "model.onnx")
    evaluation, root = validation(run)
    certificate = certify(open_exported(altered), evaluation, root, fingerprint(run))
    assert not certificate.passed
    with pytest.raises(ShoeboxError, match="refused"):
        certificate.require()
    with pytest.raises(ShoeboxError, match=r"model\.onnx was altered"):
        open_backend(altered)
    assert all(flip.trained != flip.backend for flip in certificate.flips)
    assert round((1 - certificate.agreement) * len(evaluation)) == len(certificate.flips)


def test_a_refused_export_leaves_nothing_and_keeps_the_one_before(run, trained, monkeypatch):
    before = (run / "exports" / "onnx" / "model.onnx").read_bytes()
    monkeypatch.setattr("shoebox.deploy.certificate.EXACT", Limits(agreement=1.1, difference=0))
    with pytest.raises(ShoeboxError, match="refused"):
        export(run, "onnx")
    assert (run / "exports" / "onnx" / "model.onnx").read_bytes() == before
    assert [path.name for path in (run / "exports").iterdir()] == ["onnx"]


def test_nothing_of_anybody_is_replaced(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no export"):
        export(run, "onnx", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_pictures_that_moved_are_asked_for(run):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "root": "/nowhere"}))
    with pytest.raises(UsageError, match="--data"):
        export(run, "onnx")


def test_the_fastest_certified_backend_is_remembered_and_used(run):
    timings = remembered(run, fingerprint(run))
    assert {"torch", "torch-folded", "onnx"} <= {timing.backend for timing in timings}
    assert timings == sorted(timings, key=lambda timing: -timing.speed)
    assert open_backend(run).name == next(timing.backend for timing in timings if timing.certified)
    assert open_backend(run, count=1).name == "onnx", "few pictures are answered without loading torch"
    assert open_backend(run, "cpu").name == "torch"


def test_what_was_measured_for_other_weights_is_not_used(run):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "temperature": 2.5}))
    assert open_backend(run, count=1).name == "torch"


def test_an_altered_or_missing_export_is_passed_over(run):
    with (run / "exports" / "onnx" / "model.onnx").open("ab") as file:
        file.write(b"!")
    assert open_backend(run, count=1).name.startswith("torch")
    said = []
    timings = measure(run, progress=type("P", (), {"say": lambda _, t: said.append(t), "track": lambda _, i, *a: i})())
    assert "onnx" not in {timing.backend for timing in timings} and "altered" in said[0]


def test_an_exported_folder_answers_without_torch(exported, trained):
    picture = next(trained[1].rglob("*.jpg"))
    code = (
        "import sys; from shoebox.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'pandas', 'sklearn', 'pyarrow', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, "predict", str(exported), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{picture}: {Classifier.load(trained[0]).predict(picture)['label'][0]} ")


def test_weights_outside_the_file_are_not_followed(exported, tmp_path):
    hostile = tmp_path / "hostile"
    shutil.copytree(exported, hostile)
    model = onnx.load(hostile / "model.onnx")
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../../etc/passwd")
    (hostile / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ShoeboxError, match="cannot be loaded"):
        open_exported(hostile)
