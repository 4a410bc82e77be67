"""Importing ONNX Runtime without its telemetry.

The Linux wheels of ONNX Runtime 1.31 hold a client of their maker's telemetry: on import it writes a session file into
the temporary folder and opens a database in the person's cache. Shoebox tells nobody anything, so this is switched off,
by the variable that the library looks at as it loads, unless the person has set it themselves.

Out: the module `onnxruntime`. Call `import_onnxruntime()` before anything of it is imported.
"""

import os
from typing import Any

from shoebox.base.errors import MissingExtra

SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Import ONNX Runtime.

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault(SWITCH, "1")
    try:
        import onnxruntime
    except ImportError as e:
        raise MissingExtra("onnxruntime", "serve") from e
    return onnxruntime
