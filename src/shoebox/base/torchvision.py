"""Importing torchvision, also where its compiled extension cannot load.

PyPI carries one torchvision per platform, and on Linux it is built for a CUDA torch. Beside a CPU-only torch its
extension `_C` cannot load; torchvision tolerates that, except that since 0.21 it registers a Python fallback for two
operators (`nms`, `qnms`) that only the extension declares, so `import torchvision` ends in "operator torchvision::nms
does not exist" (and `import timm` with it). Declaring the two, without implementing them, is enough: what Shoebox uses
(networks, downloads) never calls a compiled operator, and one that does still fails, with torchvision's own message.

Out: the module `torchvision`. Call `import_torchvision()` before anything that imports torchvision, timm included.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

# The operators that torchvision gives a Python fallback without checking that its extension has loaded
# (torchvision/_meta_registrations.py), with the schemas of its C++ sources.
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# torch forgets a declaration when its Library object is collected.
_declared: list[Any] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its missing operators if, and only if, the plain import fails for want of them.

    Safe to call often: the second call is a look-up.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: torchvision fails to import for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as e:
        if "operator torchvision::" not in str(e) or _declared:
            raise
    # The failed import leaves half its modules behind, bound to a package that is gone.
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
    import torch

    make_library: Any = torch.library.Library  # torch leaves it unannotated
    library = make_library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return importlib.import_module("torchvision")
