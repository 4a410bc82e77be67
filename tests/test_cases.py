"""Every numbered case of bad pictures, bad paths and bad data sets (1 to 47) has a test that carries its number."""

import re
from pathlib import Path


def test_every_case_has_its_test():
    text = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    numbers = {int(number) for number in re.findall(r"def test_case_(\d\d)_", text)}
    assert set(range(1, 48)) <= numbers, sorted(set(range(1, 48)) - numbers)
