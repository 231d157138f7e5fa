from __future__ import annotations

import json

import pytest
import yaml

from acclimate.errors import DataError
from acclimate.prompts import PromptSet, ReferencePrompts, open_reference_prompts
from acclimate.prompts.references import compose_reference_prompts, read_reference_prompts
from acclimate.synthetic import get_domain, list_domains

CLASSES = ("BareLand", "storage_tanks", "Pond")
PROMPTS = PromptSet("satellite", overrides={"Pond": "small lake"})
SENTENCES = {"bare land": ["brown soil", "no plants"], "StorageTanks": ["round roofs"], "small lake": ["still  water "]}


def write(path, content):
    text = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content)
    path.write_text(text if isinstance(content, dict | list) else content, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["prompts.json", "prompts.yaml"])
def test_classes_are_matched_as_they_read(tmp_path, name):
    found = read_reference_prompts(write(tmp_path / name, SENTENCES), CLASSES, PROMPTS)
    assert found.of(CLASSES) == [("brown soil", "no plants"), ("round roofs",), ("still water",)]
    assert found.source.endswith(name)


def test_a_table_has_a_row_for_each_sentence(tmp_path):
    rows = "class,prompt\nbareland,brown soil\nstorage tanks,round roofs\nBARE_LAND,no plants\npond,still water\n"
    path = write(tmp_path / "prompts.csv", rows)
    assert read_reference_prompts(path, CLASSES).of(["BareLand", "Pond"]) == [
        ("brown soil", "no plants"),
        ("still water",),
    ]


def test_the_name_itself_wins_over_words(tmp_path):
    """Where the words of one class are the name of another, an entry belongs to the one that is named so."""
    prompts = PromptSet("satellite", overrides={"Pond": "bare land"})
    path = write(tmp_path / "prompts.json", {"bare land": ["soil"], "pond": ["water"]})
    assert read_reference_prompts(path, ["BareLand", "Pond"], prompts).of(["BareLand"]) == [("soil",)]


def test_sentences_that_stand_there_twice_count_once(tmp_path):
    path = write(tmp_path / "prompts.json", {"Pond": ["water", "water ", "reeds"], "pond": "water"})
    assert read_reference_prompts(path, ["Pond"]).of(["Pond"]) == [("water", "reeds")]


def test_every_miss_is_named(tmp_path, caplog):
    path = write(tmp_path / "prompts.json", {"bare land": ["soil"], "storage tnks": ["roofs"], "moon": ["craters"]})
    with pytest.raises(DataError) as error:
        read_reference_prompts(path, CLASSES)
    message = str(error.value)
    assert "2 of 3 classes: 'storage_tanks', nearest entry 'storage tnks'; 'Pond'" in message
    assert str(path) in message
    with caplog.at_level("INFO", "acclimate"):
        read_reference_prompts(path, ["BareLand"])
    assert "left out 2 classes ('storage tnks', 'moon')" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.json", ["water"], "holds a list; write one 'class: prompt' entry per class"),
        ("a.json", {"Pond": []}, "class 'Pond' are []; write a list of sentences"),
        ("a.json", {"Pond": 3}, "class 'Pond' are 3; write a list of sentences"),
        ("a.yaml", {"Pond": ["water", " "]}, "class 'Pond' has the prompt ' '"),
        ("a.csv", "label,prompt\nPond,water\n", "the columns are 'label, prompt'; write 'class,prompt'"),
        ("a.csv", "class,prompt\nPond,\n", "row 2: class 'Pond' has the prompt ''"),
    ],
)
def test_unusable_files(tmp_path, name, content, said):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError) as error:
        read_reference_prompts(path, ["Pond"])
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.json: .*; give a file of reference prompts"):
        read_reference_prompts(tmp_path / "none.json", ["Pond"])


def test_without_a_file_every_class_has_sentences():
    found = compose_reference_prompts(["Pond", "river"], PROMPTS)
    ensemble, described = found.of(["Pond", "river"])
    assert list(ensemble) == PROMPTS.ensemble(["Pond"])[0]
    assert len(described) > len(ensemble)
    assert any("winds through the land" in sentence for sentence in described)
    assert not any("{" in sentence for sentence in described)


@pytest.mark.parametrize("name", list_domains())
def test_embedded_domains_are_described(name):
    """Their classes have looks of their own, which no other class shares."""
    prompts = PromptSet({"microscopy": "histology"}.get(name, name))
    classes = get_domain(name).classes
    found = compose_reference_prompts(classes, prompts).of(classes)
    assert all(len(sentences) >= 18 for sentences in found)
    looks = [sentence.partition(": ")[2] for sentences in found for sentence in sentences if ": " in sentence]
    own = [look for look in looks if not any(word in look for word in prompts.words(classes))]
    assert len(set(own)) == len(own)


def test_what_is_given(tmp_path):
    given = ReferencePrompts({"Pond": ("water",)}, "mine")
    assert open_reference_prompts(given, ["Pond"], PROMPTS) is given
    assert open_reference_prompts(None, ["Pond"], PROMPTS).source == "bank"
    mapping = {"pond": ["water"]}
    assert open_reference_prompts(mapping, ["Pond"], PROMPTS).of(["Pond"]) == [("water",)]
    path = write(tmp_path / "prompts.json", mapping)
    assert open_reference_prompts(path, ["Pond"], PROMPTS).fingerprint == given.fingerprint
    assert given.fingerprint != ReferencePrompts({"Pond": ("waters",)}).fingerprint
    with pytest.raises(DataError, match="mine: no reference prompts for class 'Lake'"):
        given.of(["Pond", "Lake"])
