from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.errors import DataError
from acclimate.prompts import class_words, class_words_all, read_names_file

EXPECTED = {
    # the same class in the spellings that folders have
    "BareLand": "bare land",
    "bare_land": "bare land",
    "Bare Land": "bare land",
    "bare-land": "bare land",
    "bareland": "bare land",
    "bareland.v2": "bare land",
    "bareland_v3": "bare land",
    "bareland-v1.0": "bare land",
    # run together
    "storagetanks": "storage tanks",
    "denseresidential": "dense residential",
    "mediumresidential": "medium residential",
    "baseballfield": "baseball field",
    "railwaystation": "railway station",
    "mobilehomepark": "mobile home park",
    "groundtrackfield": "ground track field",
    "notumor": "no tumor",
    "RAILWAYSTATION": "railway station",
    # codes, acronyms and names
    "Boeing737": "Boeing 737",
    "A320321": "A320321",
    "A220": "A220",
    "ARJ21": "ARJ21",
    "n02084071": "n02084071",
    "MRI_T2": "MRI T2",
    "CT_COVID": "CT covid",
    "COVID-19": "COVID-19",
    "F-16": "F-16",
    "x-ray": "x-ray",
    "MRIs": "MRIs",
    "h2o": "h2o",
    "3DModel": "3D model",
    "BKL": "BKL",
    "Audi_S5_2012": "Audi S5 2012",
    # capitals
    "PNEUMONIA": "pneumonia",
    "NORMAL": "normal",
    "CHONDROMA": "chondroma",
    "VeryMildDemented": "very mild demented",
    "CamelCaseXMLFile": "camel case XML file",
    "type2Diabetes": "type 2 diabetes",
    # others
    "argillaceous_limestone": "argillaceous limestone",
    "class-01": "class 01",
    "Tomato___Late_blight": "tomato late blight",
    "harbor&port": "harbor and port",
    "0.5mm": "0.5mm",
    "v2": "v2",
    "__": "__",
    "日本": "日本",
    "American Staffordshire": "American Staffordshire",
}


@pytest.mark.parametrize(("name", "words"), EXPECTED.items())
def test_class_words(name: str, words: str) -> None:
    assert class_words(name) == words


WHOLE_TEXT = (
    "limestone sandstone ironstone farmland grassland airport football basketball motorcycle butterfly seahorse "
    "starfish swordfish strawberry pineapple pancake sunflower pneumonia carcinoma cardiomegaly pneumothorax "
    "chaparral carpet manatee together notice manage perform covered restore subset emulate outright discover "
    "nonetheless multipliers tapered begonia mandarin candelabra kaleidoscope hotdog toothbrush hazelnut seasonal "
    "caramel parasite legend pottery candid raincoat forestry massage peregrine carbonate dogmatic catalogue "
    "tablet cartridge barricade planetary scarlet office offer permit"
)
WHOLE = WHOLE_TEXT.split()


@pytest.mark.parametrize("word", WHOLE)
def test_real_words_stay_whole(word: str) -> None:
    assert class_words(word) == word


@given(st.text(min_size=1, max_size=40))
def test_any_name_gives_words(name: str) -> None:
    words = class_words(name)
    assert words
    assert words == name or (words == words.strip() and "  " not in words)


def test_version_marks_stay_where_they_tell_classes_apart() -> None:
    assert class_words_all(["wafer_v1", "wafer_v2", "Bareland.v2"]) == ["wafer v1", "wafer v2", "bare land"]


def test_names_files(tmp_path: Path) -> None:
    expected = {"A": "an aeroplane", "B": "a bird, small"}
    (tmp_path / "n.json").write_text(json.dumps(expected))
    (tmp_path / "n.yaml").write_text("A: an aeroplane\nB: a bird, small\n")
    (tmp_path / "n.csv").write_text('\ufeffclass,words\nA,an aeroplane\nB,"a bird, small"\n', encoding="utf-8")
    for suffix in ("json", "yaml", "csv"):
        assert read_names_file(tmp_path / f"n.{suffix}", ["A", "B", "C"]) == expected


def test_words_that_yaml_reads_otherwise_stay_words(tmp_path: Path) -> None:
    names = ["no", "yes", "001", "1.10", "1e3", "2020-01-01", "null", "3"]
    (tmp_path / "n.yaml").write_text("".join(f"{name}: {name}\n" for name in names))
    assert read_names_file(tmp_path / "n.yaml", names) == {name: name for name in names}


def test_tables_of_words_are_read_like_all_tables(tmp_path: Path) -> None:
    texts = ("sep=;\nClass;Words\nA;a bird\n", "class|words\nA|a bird\n", "class,words,\nA,a bird,,\n")
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.csv"
        file.write_text(text, encoding="utf-16" if number else "utf-8")
        assert read_names_file(file) == {"A": "a bird"}
    (tmp_path / "b.csv").write_text("class,words\nA,a bird, small\n")
    with pytest.raises(DataError, match="row 2: 3 values for 2 columns"):
        read_names_file(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("file", "content", "part"),
    [
        ("n.json", '{"Bareland": "x"}', r"did you mean 'BareLand'\?"),
        ("n.json", '{"zzz": "x"}', "the classes are BareLand, River"),
        ("n.json", "{", "not valid JSON"),
        ("n.yaml", "a: [", "not valid YAML"),
        ("n.yaml", "- a\n", "holds a list"),
        ("n.yaml", "River: [3]\n", "write at least one word"),
        ("n.yaml", "River:\n", "are None; write at least one word"),
        ("n.yaml", "River: a\nRiver: b\n", r"n\.yaml line 2: not valid YAML \('River' stands there twice\)"),
        ("n.json", '{"River": "a",\n"River": "b"}', r"n\.json line 2: not valid JSON \('River' stands there twice\)"),
        ("n.json", f'{{"{"x" * 100_000}": "a"}}', "no class 'xxx"),
        ("n.yaml", f"River: {[['x' * 5000] * 50] * 50}\n", "write at least one word"),
        ("n.csv", "class,words\n,a\n", "row 2: the class is empty"),
        ("n.csv", "name,text\n", "write 'class,words'"),
        ("n.csv", "class,words\nRiver,\n", "row 2"),
        ("n.csv", "class,words\nRiver,a\nRiver,b\n", "row 3.*twice"),
    ],
)
def test_bad_names_files(tmp_path: Path, file: str, content: str, part: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=part) as caught:
        read_names_file(tmp_path / file, ["BareLand", "River"])
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_missing_names_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json"):
        read_names_file(tmp_path / "absent.json")
