import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoebox.base.errors import UsageError
from shoebox.base.registry import Registry, parse_spec

LITERALS = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(), st.text()
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True).filter(lambda n: not __import__("keyword").iskeyword(n))


@given(NAMES, st.dictionaries(NAMES, LITERALS, max_size=4))
def test_any_literals_come_back(name, options):
    spec = f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"
    assert parse_spec(spec) == (name, options)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        name, options = parse_spec(text)
    except UsageError:
        return
    assert name
    assert isinstance(options, dict)


@pytest.mark.parametrize("spec", ["", "a(b)", "a(1)", "a(b=c)", "a(b=__import__('os'))", "a(**{})", "a(b=1", "a b"])
def test_what_is_no_specification_is_refused(spec):
    with pytest.raises(UsageError):
        parse_spec(spec)


def registry():
    things = Registry("thing")

    @things.register
    def box(size, *, depth=1):
        return ("box", size, depth)

    return things


def test_build_passes_arguments_and_options():
    assert registry().build("box(depth=3)", 2) == ("box", 2, 3)
    assert registry().build("box", 2) == ("box", 2, 1)


def test_unknown_name_lists_the_choices():
    with pytest.raises(UsageError, match=r"no thing is called 'boxx': did you mean 'box'\? choose from box"):
        registry().build("boxx", 1)


def test_unknown_option_lists_the_options():
    with pytest.raises(UsageError, match="no option 'width': its options are depth=1"):
        registry().check("box(width=1)")


def test_a_name_is_registered_once():
    things = registry()
    with pytest.raises(ValueError, match="registered already"):
        things.register(lambda: None, name="box")
