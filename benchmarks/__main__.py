"""Run benchmarks and write benchmarks/results/NAME-….json: python -m benchmarks [--data FOLDER] [NAME …]

Each measures Shoebox and what it is compared with in turn, in one run, and reports ratios: these machines are noisy.
"""

import argparse
import json
import os
import platform
import re
from datetime import date
from pathlib import Path

from benchmarks import label_noise, loading, measures, minutes, peers, planted, startup, steps
from benchmarks.table import write_table

RESULTS = Path(__file__).parent / "results"
BENCHMARKS = {
    "startup": startup.measure,
    "loading": loading.measure,
    "steps": steps.measure,
    "measures": measures.measure,
    "planted": planted.measure,
    "label_noise": label_noise.measure,
    "minutes": minutes.measure,
    "peers": peers.measure,
}


def processor() -> str:
    """Its name and the widest arithmetic that it has, where Linux tells."""
    told = {}
    if (file := Path("/proc/cpuinfo")).is_file():
        for line in file.read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            told[key.strip()] = value.strip()
    name = re.sub(r"\(R\)|\(TM\)|\bProcessor\b|@.*", "", told.get("model name", platform.machine()))
    known = ("avx512_fp16", "avx512_bf16", "avx512f", "avx2")
    widest = [skill.replace("_", "-").upper() for skill in known if skill in told.get("flags", "").split()]
    return ", ".join([" ".join(name.split()), *widest[:1]])


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--data", type=Path, help="a folder with train/<class>/ pictures; by default the digits")
    arguments = parser.parse_args()
    for name in arguments.names:
        machine = {
            "processor": processor(),
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "date": date.today().isoformat(),
        }
        data = str(arguments.data) if arguments.data else "digits"
        result = {"benchmark": name, "data": Path(data).name, **BENCHMARKS[name](data), "machine": machine}
        RESULTS.mkdir(exist_ok=True)
        where = re.sub(r"[^a-z0-9]+", "-", machine["processor"].lower()).strip("-")
        case = result.pop("case", result["data"])
        (RESULTS / f"{name}-{case}-{where}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2))
    write_table(RESULTS)


main()
