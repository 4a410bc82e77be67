"""A page that runs the classifier in the browser: one HTML file, which needs no server and no network.

In: an ONNX file and its config. Out: `index.html` with ONNX Runtime Web, the model and the page inside it. The runtime
comes from its npm package, fetched once and kept in the cache.
"""

import base64
import html
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from shoebox.base.errors import ShoeboxError
from shoebox.base.files import cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
RUNTIME, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


def write_page(folder: Path, config: dict[str, Any], package: str | None = None) -> None:
    """Write `index.html` beside the `model.onnx` of a folder.

    Args:
        config: as in `config.json`.
        package: a folder that holds the files of onnxruntime-web (`node_modules/onnxruntime-web`); by default the
            package is asked of npm once.

    Raises:
        ShoeboxError: the runtime can be neither found nor fetched.
    """
    source = Path(package) if package else _fetched()
    try:
        runtime = (source / "dist" / RUNTIME).read_text(encoding="utf-8")
        wasm = (source / "dist" / WASM).read_bytes()
    except OSError as e:
        raise ShoeboxError(f"{source} is not the npm package {PACKAGE} ({e})") from e
    told = {key: config[key] for key in ("label_names", "preprocess")}
    title = str(config.get("card", {}).get("name") or config["architecture"])
    page = Path(__file__).with_name("web.html").read_text(encoding="utf-8")
    parts = {
        "title": html.escape(title),
        # Within <script> only its own end would end it.
        "runtime": runtime.replace("</script", "<\\/script"),
        "wasm": base64.b64encode(wasm).decode(),
        "model": base64.b64encode((folder / "model.onnx").read_bytes()).decode(),
        "config": json.dumps(told).replace("<", "\\u003c"),
    }
    # In one pass, so that a name which looks like a place in the page is not filled in.
    page = re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], page)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _fetched() -> Path:
    """The two files of the package that are needed, from the cache or, once, from npm."""
    kept = cache_folder() / f"{PACKAGE}-{VERSION}"
    if kept.is_dir():
        return kept
    with tempfile.TemporaryDirectory(dir=kept.parent) as made:
        work = Path(made)
        try:
            command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", made]
            subprocess.run(command, check=True, capture_output=True, text=True, cwd=made)
            (work / "package" / "dist").mkdir(parents=True)
            with tarfile.open(next(work.glob("*.tgz"))) as archive:
                for name in (RUNTIME, WASM):
                    member = archive.extractfile(f"package/dist/{name}")
                    assert member is not None
                    with member, (work / "package" / "dist" / name).open("wb") as file:
                        shutil.copyfileobj(member, file)
        except (OSError, subprocess.CalledProcessError, StopIteration, KeyError, tarfile.TarError) as e:
            raise ShoeboxError(
                f"{PACKAGE} {VERSION} could not be fetched with npm ({e}): where it is installed, give its folder: "
                "--to \"web(package='node_modules/onnxruntime-web')\""
            ) from e
        (work / "package").rename(kept)
    return kept
