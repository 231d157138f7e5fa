from __future__ import annotations

import contextlib
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.errors import AcclimateError, ConfigError
from acclimate.options import Checked, describe_options, identifying, make_config, nearest, option, parse_assignments


@dataclass(frozen=True, kw_only=True)
class Settings(Checked):
    rank: int = option(8, "rank of the deltas", low=1, high=64)
    rate: float = option(0.1, "rate", low=0.0)
    share: float = option(0.5, "share", high=1.0)
    kind: Literal["one", "two"] = option("one", "kind")
    level: Literal[1, 2] = option(1, "level")
    deep: bool = option(False, "deep prompts")
    words: str | None = option(None, "words")
    depth: int | None = option(None, "depth", low=1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rank", "4", 4),
        ("rate", "1e-3", 1e-3),
        ("rate", "2", 2.0),
        ("kind", "two", "two"),
        ("level", "2", 2),
        *(("deep", word, True) for word in ("true", "True", "yes", "on", "1")),
        *(("deep", word, False) for word in ("false", "no", "OFF", "0")),
        ("words", "a photo of a", "a photo of a"),
        ("words", "none", None),
        ("depth", "None", None),
        ("depth", "3", 3),
    ],
)
def test_texts_become_values(name, text, value):
    found = getattr(make_config(Settings, {name: text}), name)
    assert found == value
    assert type(found) is type(value)


def test_values_that_are_no_texts_stay():
    assert make_config(Settings, {"rank": 4, "deep": True, "depth": None}) == Settings(rank=4, deep=True)


def test_a_saved_configuration_makes_itself_again():
    config = Settings(rank=3, words="a b", kind="two")
    assert make_config(Settings, vars(config)) == config


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rank", "0", "rank=0 is out of range; choose a value from 1 to 64"),
        ("rank", "65", "from 1 to 64"),
        ("rank", "4.5", "rank=4.5: give a whole number"),
        ("rank", "", "give a whole number"),
        ("rate", "-1", "rate=-1.0 is out of range; choose a value of at least 0"),
        ("rate", "fast", "rate=fast: give a finite number"),
        ("rate", "nan", "give a finite number"),
        ("share", "1.5", "of at most 1"),
        ("kind", "three", "kind='three' is not one of one, two"),
        ("level", "3", "is not one of 1, 2"),
        ("deep", "maybe", "deep=maybe: give true or false"),
        ("depth", "0", "of at least 1"),
        ("rnak", "4", "unknown setting 'rnak'; did you mean 'rank'?"),
        ("zzzz", "4", "unknown setting 'zzzz' (settings: rank, rate,"),
    ],
)
def test_bad_settings_are_refused_in_one_line(name, text, words):
    with pytest.raises(ConfigError) as caught:
        make_config(Settings, {name: text})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [{"rank": 0}, {"kind": "three"}, {"rank": "many"}, {"rank": None}, {"rate": [1]}, {"deep": 3}, {"rank": 2.5}],
    ids=str,
)
def test_values_of_a_wrong_type_are_refused_from_python_too(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        make_config(Settings, values)


def test_infinity_is_no_rate():
    with pytest.raises(ConfigError, match="rate"):
        make_config(Settings, {"rate": "inf"})


def test_configurations_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Settings().rank = 3


@dataclass(frozen=True, kw_only=True)
class Varied(Checked):
    VARIANTS: ClassVar = {"old": {"rate": 2.0, "words": None, "deep": False}}

    variant: Literal["new", "old"] = option("new", "variant")
    rate: float = option(0.5, "rate")
    words: str | None = option("a b", "words")
    deep: bool = option(True, "deep")


def test_a_variant_has_its_own_defaults_under_explicit_settings():
    assert make_config(Varied, {}) == make_config(Varied, {"variant": "new"}) == Varied()
    assert make_config(Varied, {"variant": "old"}) == Varied(variant="old", rate=2.0, words=None, deep=False)
    for settings in ({"variant": "old", "rate": "0.5"}, {"rate": 0.5, "variant": "old"}):  # in any order
        config = make_config(Varied, settings)
        assert config == Varied(variant="old", rate=0.5, words=None, deep=False)
        assert make_config(Varied, vars(config)) == config
    assert Varied.VARIANTS == {"old": {"rate": 2.0, "words": None, "deep": False}}


@pytest.mark.parametrize("variant", ["older", None, 3, ["old"], {"old": 1}], ids=str)
def test_unknown_variants(variant):
    with pytest.raises(ConfigError, match=r"variant=.* is not one of new, old"):
        make_config(Varied, {"variant": variant})


def test_the_description_names_the_defaults_of_other_variants():
    rows = {row["name"]: (row["default"], row["help"]) for row in describe_options(Varied)}
    assert rows["rate"] == ("0.5", "rate; old: 2.0")
    assert rows["words"] == ("a b", "words; old: None")
    assert rows["variant"] == ("new", "variant")


def test_what_came_later_tells_runs_apart_only_where_it_is_set():
    @dataclass(frozen=True, kw_only=True)
    class Grown(Settings):
        every: int = option(1, "came later", low=1, later=True)

    assert identifying(Grown(rank=4)) == identifying(Settings(rank=4))
    assert identifying(Grown(every=5)) == {**identifying(Settings()), "every": 5}
    assert identifying(Settings()).keys() == vars(Settings()).keys()


def test_assignments():
    assert parse_assignments(["lr=0.1", "batch-size = 4", "words=a=b"]) == {
        "lr": "0.1",
        "batch_size": "4",
        "words": "a=b",
    }
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["lr", "=3", " =3", ""])
def test_what_is_no_assignment(text):
    with pytest.raises(ConfigError, match="name=value"):
        parse_assignments([text])


def test_description_of_every_option():
    rows = {row["name"]: row for row in describe_options(Settings)}
    assert list(rows) == ["rank", "rate", "share", "kind", "level", "deep", "words", "depth"]
    assert rows["rank"] == {"name": "rank", "type": "int", "default": "8", "help": "rank of the deltas"}
    assert rows["kind"]["type"] == "one | two"
    assert rows["words"]["type"] == "str | None"
    assert rows["words"]["default"] == "None"


def test_the_nearest_word():
    assert nearest("coopp", ["coop", "zero-shot"]) == "; did you mean 'coop'?"
    assert nearest("xyz", ["coop"]) == ""


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_no_text_escapes_as_another_error(settings):
    with contextlib.suppress(AcclimateError):
        make_config(Settings, settings)
