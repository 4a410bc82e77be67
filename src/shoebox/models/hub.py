"""Pretrained weights on this disk, and fetching what is not there; the only code of this room that uses the network.

In: a source and a name. Out: the path of the weights, in the caches that timm, Transformers and torchvision share with
everybody else (`HF_HOME`, `TORCH_HOME`). Without a connection, or with `HF_HUB_OFFLINE`, it fails within seconds.
"""

import contextlib
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from shoebox.base.errors import ShoeboxError, UsageError
from shoebox.base.torchvision import import_torchvision
from shoebox.models.architectures import find_architecture, import_timm

# How long to wait for a server's first answer, seconds; a silent name look-up counts too.
PATIENCE = 6.0
# What a Transformers classifier needs; never its pickled weights, never its code.
FOLDERS = ("hf", "hf_hub")  # sources whose weights come with files that describe them
HF_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def on_disk(name: str) -> bool:
    """Whether the weights of "timm:NAME", "torchvision:NAME", "hf:OWNER/NAME" or a plain timm name are here already."""
    found = find_architecture(name)
    return found is not None and _local(*found) is not None


def listed_on_disk(name: str) -> bool:
    """The same for "timm:NAME" with a tag, as in `PRETRAINED`; it imports neither timm nor torchvision."""
    import huggingface_hub

    own = name.removeprefix("timm:")
    return isinstance(huggingface_hub.try_to_load_from_cache(f"timm/{own}", "model.safetensors"), str)


def fetch_listed(name: str, before: Callable[[], None]) -> None:
    """Fetch the weights of "timm:NAME", as in `PRETRAINED`; `before` is called once a server has answered.

    Raises:
        ShoeboxError: they cannot be fetched; known within seconds.
    """
    import huggingface_hub

    source, _, own = name.partition(":")
    if _wants_offline():
        raise _unavailable(source, own, "downloads are off")
    if not _answers(huggingface_hub.constants.ENDPOINT):
        raise _unavailable(source, own, f"no connection to {huggingface_hub.constants.ENDPOINT}")
    before()
    fetch_weights(source, own)


def fetch_weights(source: str, name: str, download: bool = True) -> Path:
    """The weights of a pretrained network: a file, or for "hf" and "hf_hub" a folder.

    Args:
        source: "timm", "torchvision", "hf" or "hf_hub".
        name: the source's own name; for the last two also a folder.
        download: if False, only look on this disk.

    Raises:
        UsageError: the source publishes no weights for it.
        ShoeboxError: not on this disk, and no connection, or no leave to use it; the message names the alternatives.
    """
    here = _local(source, name)
    if here is not None:
        return here
    if not download or _wants_offline():
        raise _unavailable(source, name, "downloads are off")
    if source == "torchvision":
        return _download_file(name)
    repository, file = _repository(source, name)
    import huggingface_hub

    if not _answers(huggingface_hub.constants.ENDPOINT):
        raise _unavailable(source, name, f"no connection to {huggingface_hub.constants.ENDPOINT}")
    try:
        if source in FOLDERS:
            patterns = list(HF_FILES)
            return Path(huggingface_hub.snapshot_download(repository, allow_patterns=patterns, etag_timeout=PATIENCE))
        return Path(huggingface_hub.hf_hub_download(repository, file, etag_timeout=PATIENCE))
    except (OSError, ValueError) as e:  # every error of the hub's client is one of the two
        raise _unavailable(source, name, _first_line(e)) from None


def _local(source: str, name: str) -> Path | None:
    if source == "torchvision":
        path = _torch_cache() / _torchvision_url(name).rpartition("/")[2]
        return path if path.is_file() else None
    if source in FOLDERS and (Path(name) / "config.json").is_file():
        return Path(name)
    import huggingface_hub

    repository, file = _repository(source, name)
    found = huggingface_hub.try_to_load_from_cache(repository, file)
    if not isinstance(found, str):
        return None
    return Path(found).parent if source in FOLDERS else Path(found)


def _repository(source: str, name: str) -> tuple[str, str]:
    """(repository of the Hugging Face hub, its weights file)."""
    if source in FOLDERS:
        return name, "model.safetensors"
    configuration = import_timm().models.get_pretrained_cfg(name)
    if configuration is None or not configuration.hf_hub_id:
        raise UsageError(f"timm publishes no safetensors weights for {name}: choose another, or train it from scratch")
    file = configuration.hf_hub_filename or ""
    return configuration.hf_hub_id, file if file.endswith(".safetensors") else "model.safetensors"


def _torchvision_url(name: str) -> str:
    url: str = torchvision_weights(name).url
    return url


def torchvision_weights(name: str) -> Any:
    """torchvision's record of its best weights for a network: `.url`, `.transforms()`, `.meta`."""
    return import_torchvision().models.get_model_weights(name).DEFAULT


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download_file(name: str) -> Path:
    """torchvision's weights, checked against the hash in their name."""
    url = _torchvision_url(name)
    if not _answers(url):
        raise _unavailable("torchvision", name, f"no connection to {url}")
    path = _torch_cache() / url.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = path.stem.rpartition("-")[2]
    try:
        with _socket_patience():
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as e:
        raise _unavailable("torchvision", name, _first_line(e)) from None
    return path


@contextlib.contextmanager
def _socket_patience() -> Iterator[None]:
    """torch.hub opens its connection without a timeout; a stalled one would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _answers(url: str) -> bool:
    """Whether a server answers at all within `PATIENCE`, through the proxies of the environment.

    In a thread, because looking up a name has no timeout of its own; the hub's client would try six times.
    """
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer, if not a kind one
        except (OSError, ValueError):
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()


def _wants_offline() -> bool:
    return any(
        os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _unavailable(source: str, name: str, reason: str) -> ShoeboxError:
    return ShoeboxError(
        f"the weights of {source}:{name} are not on this disk and cannot be fetched ({reason}): give a file with "
        "--weights FILE.safetensors, or train from scratch with --model speednet"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
