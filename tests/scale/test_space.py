import pytest

from shoebox.base.errors import UsageError
from shoebox.scale.space import parse_spans


class Low:
    """A trial that always takes the lowest value, or the last choice."""

    def suggest_float(self, name, low, high, log):
        return ("log" if log else "uniform", low)

    def suggest_int(self, name, low, high):
        return low

    def suggest_categorical(self, name, choices):
        return choices[-1]


def test_spans_as_people_write_them():
    texts = ["lr=log(1e-4, 1e-1)", "ema = uniform(0.9,0.99)", "epochs=int(3,10)", "augment=choice([], ['flip'])"]
    spans = parse_spans(texts)
    assert [span.suggest(Low()) for span in spans] == [("log", 1e-4), ("uniform", 0.9), 3, ["flip"]]
    assert spans[3].value("['flip']") == ["flip"]
    assert parse_spans([str(span) for span in spans]) == spans


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "expected field=log"),
        ("lr=log", "expected field=log"),
        ("lr=exp(1,2)", "expected field=log"),
        ("rate=log(1,2)", "unknown setting 'rate'"),
        ("lr=log(0,1)", "two numbers, the lower first"),
        ("lr=uniform(2,1)", "two numbers, the lower first"),
        ("lr=uniform(1)", "two numbers, the lower first"),
        ("epochs=int(1.5,3)", "two whole numbers"),
        ("model=choice()", "nothing to choose"),
        ("model=choice(vgg)", "not Python literals"),
        ("model=choice(__import__('os'))", "not Python literals"),
    ],
)
def test_what_makes_no_sense_is_said(text, message):
    with pytest.raises(UsageError, match=message):
        parse_spans([text])


def test_something_must_vary_and_nothing_twice():
    with pytest.raises(UsageError, match="what is the sweep to vary"):
        parse_spans([])
    with pytest.raises(UsageError, match="lr twice"):
        parse_spans(["lr=log(1,2)", "lr=log(1,3)"])
