"""What a sweep varies: fields of the recipe, each with the values it may take, as a person writes them.

In: 'lr=log(1e-4, 1e-1)', 'batch_size=choice(64, 128)', 'ema=uniform(0.9, 0.999)', 'epochs=int(3, 10)'. Out: a `Span` a
field, which asks an Optuna trial for a value. Values are Python literals; nothing is ever evaluated.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shoebox.base.errors import UsageError
from shoebox.base.recipe import Recipe

if TYPE_CHECKING:
    import optuna

KINDS = ("log", "uniform", "int", "choice")
FORM = "expected field=log(low, high), field=uniform(low, high), field=int(low, high) or field=choice(a, b, …)"


@dataclass(frozen=True)
class Span:
    """The values of one field.

    Attributes:
        field: of the recipe.
        kind: one of `KINDS`.
        values: low and high, or the choices.
    """

    field: str
    kind: str
    values: tuple[Any, ...]

    def suggest(self, trial: "optuna.Trial") -> Any:
        """The value that a trial is to use."""
        if self.kind == "choice":
            return self.value(trial.suggest_categorical(self.field, [_stored(value) for value in self.values]))
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(self.field, low, high)
        return trial.suggest_float(self.field, low, high, log=self.kind == "log")

    def value(self, stored: Any) -> Any:
        """The value that a study keeps as `stored`."""
        return next((v for v in self.values if _stored(v) == stored), stored) if self.kind == "choice" else stored

    def __str__(self) -> str:
        return f"{self.field}={self.kind}({', '.join(map(repr, self.values))})"


def parse_spans(texts: Sequence[str]) -> tuple[Span, ...]:
    """Read spans.

    Raises:
        UsageError: there are none, a field is not the recipe's or is named twice, or its values make no sense.
    """
    spans = tuple(map(_parse, texts))
    if not spans:
        raise UsageError("what is the sweep to vary? Name a field, for example --over 'lr=log(1e-4,1e-1)'")
    fields = [span.field for span in spans]
    if twice := {field for field in fields if fields.count(field) > 1}:
        raise UsageError(f"--over names {', '.join(sorted(twice))} twice")
    return spans


def _parse(text: str) -> Span:
    field, equals, rest = text.partition("=")
    kind, bracket, values = rest.strip().partition("(")
    field, kind = field.strip(), kind.strip()
    if not equals or not bracket or not values.endswith(")") or kind not in KINDS:
        raise UsageError(f"--over {text!r}: {FORM}")
    if field not in Recipe.model_fields:
        raise UsageError(f"--over {text!r}: unknown setting {field!r}: choose from {', '.join(Recipe.model_fields)}")
    try:
        parsed = tuple(ast.literal_eval(f"[{values[:-1]}]"))
    except (SyntaxError, ValueError):
        raise UsageError(f"--over {text!r}: the values are not Python literals; {FORM}") from None
    if kind == "choice":
        if not parsed:
            raise UsageError(f"--over {text!r}: there is nothing to choose from")
        return Span(field, kind, parsed)
    wanted = int if kind == "int" else (int, float)
    numbers = [value for value in parsed if isinstance(value, wanted) and not isinstance(value, bool)]
    if len(parsed) != 2 or len(numbers) != 2 or numbers[0] >= numbers[1] or (kind == "log" and numbers[0] <= 0):
        raise UsageError(
            f"--over {text!r}: {kind} takes two {'whole ' if kind == 'int' else ''}numbers, the lower first"
        )
    return Span(field, kind, parsed)


def _stored(value: Any) -> Any:
    """A choice as a database can keep it: lists go as their text."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
