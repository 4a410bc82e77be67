"""The page that runs in a browser; its runtime stands in here, since fetching npm's takes a network."""

import base64
import json
import re

import pytest

from shoebox.base.errors import ShoeboxError
from shoebox.deploy.web import RUNTIME, WASM, write_page


@pytest.fixture
def package(tmp_path):
    (tmp_path / "package" / "dist").mkdir(parents=True)
    (tmp_path / "package" / "dist" / RUNTIME).write_text("export const InferenceSession = '</script>'")
    (tmp_path / "package" / "dist" / WASM).write_bytes(b"\0asm")
    return tmp_path / "package"


def test_everything_is_in_the_one_file_and_no_name_breaks_out(package, tmp_path, exported):
    config = json.loads((exported / "config.json").read_text())
    config["label_names"] = ["</script><script>alert(1)</script>", "{{model}}", "owl"]
    config["card"] = {"name": "<b>owls</b> {{wasm}}"}
    (tmp_path / "model.onnx").write_bytes(b"weights")
    write_page(tmp_path, config, str(package))
    page = (tmp_path / "index.html").read_text()
    assert page.count("</script>") == 5, "runtime, wasm, model, config and the page's own"
    assert "<title>&lt;b&gt;owls&lt;/b&gt; {{wasm}}</title>" in page
    told = json.loads(re.search(r'id="config">(.*?)</script>', page)[1])
    assert told["label_names"] == config["label_names"] and told["preprocess"]["store"] == 24
    assert base64.b64decode(re.search(r'id="model">(.*?)<', page)[1]) == b"weights"
    assert not re.search(r'(src|href)="(?!data:)', page), "it asks nothing of anywhere"


def test_a_folder_that_is_not_the_package_is_named(tmp_path):
    with pytest.raises(ShoeboxError, match="onnxruntime-web"):
        write_page(tmp_path, {}, str(tmp_path))
