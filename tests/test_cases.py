"""Every numbered case of bad pictures, paths and data sets (1 to 47) and of bad requests (66 to 82) has its test."""

import re
from pathlib import Path


def test_every_case_has_its_test():
    text = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    numbers = {int(number) for number in re.findall(r"def test_case_(\d\d)_", text)}
    wanted = {*range(1, 48), *range(66, 83)}
    assert wanted <= numbers, sorted(wanted - numbers)
