"""Named builders and the small language that names them: "vgg(blocks=3, dropout=0.2)".

A registry is a read-only mapping from a name to a function. Registering a duplicate raises, an unknown name lists the
choices, and options are checked against the function's signature before anything is built. Options are Python
literals read with `ast.literal_eval`; nothing is ever evaluated.
"""

import ast
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from shoebox.base.errors import UsageError

Builder = TypeVar("Builder", bound=Callable[..., Any])


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """Split "name(option=value, …)" into its name and its options.

    Args:
        spec: a name, optionally followed by keyword options in parentheses. The name may hold letters, digits and
            any of `_ - . : /`, so that "timm:resnet50.a1_in1k" is a name.

    Raises:
        UsageError: the text is not of that form, an option has no name, or a value is not a literal.
    """
    name, bracket, rest = spec.strip().partition("(")
    name = name.strip()
    if not name or not all(c.isalnum() or c in "_-.:/" for c in name):
        raise UsageError(f"{spec!r} is not a specification: expected name or name(option=value, …)")
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("options are written option=value")
        return name, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as e:
        raise UsageError(
            f"{spec!r} cannot be read ({e}): expected name(option=value, …) with numbers, strings, True, False, None, "
            "lists or tuples as values"
        ) from None


class Registry(Mapping[str, Builder], Generic[Builder]):
    """Functions of one kind by name.

    Args:
        kind: what one entry is, in the singular, as error messages say it ("network").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._builders: dict[str, Builder] = {}

    @overload
    def register(self, builder: Builder, *, name: str | None = None) -> Builder: ...

    @overload
    def register(self, builder: None = None, *, name: str | None = None) -> Callable[[Builder], Builder]: ...

    def register(
        self, builder: Builder | None = None, *, name: str | None = None
    ) -> Builder | Callable[[Builder], Builder]:
        """Add a function under its own name, or under `name`. Usable as a decorator with or without arguments."""
        if builder is None:
            return lambda later: self.register(later, name=name)
        key = name or builder.__name__
        if key in self._builders:
            raise ValueError(f"the {self.kind} {key!r} is registered already")
        self._builders[key] = builder
        return builder

    def __getitem__(self, name: str) -> Builder:
        try:
            return self._builders[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._builders, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"no {self.kind} is called {name!r}: {hint}choose from {', '.join(sorted(self))}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._builders

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)

    def options(self, name: str) -> dict[str, Any]:
        """The keyword-only options of one entry and their defaults."""
        parameters = inspect.signature(self[name]).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def check(self, spec: str) -> tuple[str, dict[str, Any]]:
        """Parse a specification and hold its options against the entry's signature, building nothing.

        Raises:
            UsageError: unknown name or option; the message lists what there is.
        """
        name, options = parse_spec(spec)
        known = self.options(name)
        for option in options:
            if option not in known:
                choices = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "none"
                raise UsageError(f"the {self.kind} {name!r} has no option {option!r}: its options are {choices}")
        return name, options

    def build(self, spec: str, *args: Any) -> Any:
        """Call the named entry with `args` and the specification's options."""
        name, options = self.check(spec)
        return self[name](*args, **options)
