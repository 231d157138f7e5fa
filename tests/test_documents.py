"""What people write in YAML and JSON is read as it is written, or refused in one line."""

from __future__ import annotations

import itertools

import pytest

from acclimate.documents import load_json, load_yaml, read_text
from acclimate.errors import AcclimateError, DataError, brief

LETTERS = "abcdefghij"
BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 8)}]\n" for before, after in itertools.pairwise(LETTERS)
)


def test_words_of_yaml_stay_as_they_are_written():
    words = ["no", "yes", "on", "off", "true", "001", "1.10", "1e3", "0x1F", "12:30", "2020-01-01", "1_000", ".5", "5."]
    text = "".join(f"- {word}\n" for word in words)
    assert load_yaml(text, "f") == words
    assert load_yaml("".join(f"{word}: {word}\n" for word in words), "f") == {word: word for word in words}
    assert load_yaml("[3, -3, 0.5, null, ~, '', '7', !!str 7]", "f") == [3, -3, 0.5, None, None, "", "7", "7"]
    assert load_yaml("{3: x, null: y, 1.5: z}", "f") == {"3": "x", "null": "y", "1.5": "z"}


def test_numbers_and_null_are_words_where_classes_are_named():
    assert load_yaml("{cat: 3, dog: null, cow: 1.5, 2020: Null, no: }", "f", words=True) == {
        "cat": "3",
        "dog": "null",
        "cow": "1.5",
        "2020": "Null",
        "no": None,
    }


def test_aliases_and_merges():
    text = "base: &base {x: 1, y: 2}\nmore: {<<: *base, y: 3}\nboth: {<<: [{x: 5}, *base]}\nsame: *base\n'<<': text\n"
    read = load_yaml(text, "f")
    assert read["more"] == {"x": 1, "y": 3}
    assert read["both"] == {"x": 5, "y": 2}
    assert read["same"] == read["base"] == {"x": 1, "y": 2}
    assert read["<<"] == "text"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "f line 7: not valid YAML (its aliases stand for more values than a machine can hold)"),
        ("a: &a [*a]", "f line 1: not valid YAML (*a stands for nothing, or for itself)"),
        ("x: 1\na: *b", "f line 2: not valid YAML (*b stands for nothing"),
        ("[" * 100_000, "f line 1: not valid YAML (lists and names within one another, more than 50 deep)"),
        ("- " * 100_000 + "x", "more than 50 deep"),
        ("a: 1\nb: {c: 1, d: 2,\n  c: 3}", "f line 3: not valid YAML ('c' stands there twice)"),
        ("no: 1\n'no': 2\n", "f line 2: not valid YAML ('no' stands there twice)"),
        ("a: 1\n? [x]\n: 2\n", "f line 2: not valid YAML (a list or mapping stands before a colon"),
        ('a: "\\ud800"', "f line 1: not valid YAML (found invalid Unicode character"),
        ("a: !!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not read here"),
        ("a: !!binary aGVsbG8=", "is not read here"),
        ("--- a\n--- b\n", "f line 2: not valid YAML (a second document begins with ---)"),
        ("a: \x07", "not valid YAML (unacceptable character"),
        (f"{'k' * 900}: 1\n{'k' * 900}: 2\n", "stands there twice"),
    ],
)
def test_yaml_that_is_refused(text, words):
    refused(load_yaml, text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1,\n "b": {"c": 1, "c": 2}}', "f line 2: not valid JSON ('c' stands there twice)"),
        ('{"a": "}", "b": ["a"],\n "\\u0061": 2}', "f line 2: not valid JSON ('a' stands there twice)"),
        ("[" * 100_000, "f: not valid JSON (lists and names are nested too deeply)"),
        ("[" * 51 + "]" * 51, "more than 50 deep"),
        ('{"a": "\\ud800"}', "holds half a character (a lone surrogate)"),
        ('{"\\udc00": 1}', "holds half a character"),
        (f"[{'9' * 5000}]", "f: not valid JSON (a number has thousands of digits)"),
        ("{", "f: not valid JSON (Expecting property name enclosed in double quotes, character 2); mend it"),
    ],
)
def test_json_that_is_refused(text, words):
    refused(load_json, text, words)


def refused(load, text, words):
    with pytest.raises(DataError) as raised:
        load(text, "f")
    assert words in str(raised.value)
    assert len(str(raised.value)) < 600


def test_json_that_is_read():
    assert load_json('{"a": "\\ud83d\\ude00", "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]}', "f")["a"] == "\U0001f600"
    assert load_json("[" * 50 + "]" * 50, "f")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a\nb\xe9", "line 2: byte 0xe9 is not UTF-8"), (b"a\0b", "not a text file"), (b"\xff\xfea", "is not UTF-16")],
)
def test_texts_that_are_none(tmp_path, content, words):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_text(tmp_path / "f")


def test_texts_of_windows(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "f").write_text("é", encoding=encoding)
        assert read_text(tmp_path / "f") == "é"


def test_every_message_is_one_line_that_fits_a_screen():
    message = str(AcclimateError(f"file.csv row 3: no class {'x' * 5000!r}\nin the data; {'word ' * 400}mend it"))
    assert len(message) < 600
    assert "\n" not in message
    assert message.startswith("file.csv row 3: no class 'xxx")
    assert message.endswith("mend it")
    assert brief("abc", 3) == "abc"
    assert len(brief("abcdefghijklmnop", 10)) == 10
