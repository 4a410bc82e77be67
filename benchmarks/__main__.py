"""Run benchmarks and write benchmarks/results/NAME.json: python -m benchmarks [--data FOLDER] [NAME …]

Each measures Shoebox and what it is compared with in turn, in one run, and reports ratios: these machines are noisy.
"""

import argparse
import json
import os
import platform
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


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--data", type=Path, help="a folder with train/<class>/ pictures; by default the digits")
    arguments = parser.parse_args()
    for name in arguments.names:
        machine = {"processors": os.cpu_count(), "system": platform.platform(), "date": date.today().isoformat()}
        data = str(arguments.data) if arguments.data else "digits"
        result = {"benchmark": name, "data": Path(data).name, **BENCHMARKS[name](data), "machine": machine}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}-{result.pop('case', result['data'])}.json").write_text(json.dumps(result, indent=2) + "\n")
        print(json.dumps(result, indent=2))
    write_table(RESULTS)


main()
