from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from acclimate.errors import ConfigError
from acclimate.prompts import Domain, PromptSet, get_domain, guess_domain, list_domains

EUROSAT_TEXT = (
    "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
)
EUROSAT = EUROSAT_TEXT.split()
AID_TEXT = "Airport BareLand BaseballField Beach Bridge Center Church DenseResidential Farmland StorageTanks Viaduct"
AID = AID_TEXT.split()
PACS = ["dog", "elephant", "giraffe", "guitar", "horse", "house", "person"]


@pytest.mark.parametrize(
    ("classes", "source", "domain"),
    [
        (AID, "aid", "satellite"),
        (AID, "", "satellite"),
        (EUROSAT, "", "satellite"),
        (EUROSAT, "EuroSAT_v2", "satellite"),
        (["A220", "A330", "Boeing737"], "sar_acd", "sar"),
        (["argillaceous_limestone", "dolomitic_limestone", "limestone"], "lithology", "thin_section"),
        (["NORMAL", "PNEUMONIA"], "chest_xray", "xray"),
        (["NORMAL", "PNEUMONIA"], "chest-x-ray", "xray"),
        (PACS, "pacs", "natural"),
        (["yes", "no"], "brain_tumor_mri", "mri"),
        (["a", "b"], "thin-sections", "thin_section"),
        (["CT_COVID", "CT_NonCOVID"], "", "ct"),
        (["melanocytic_nevus", "dermatofibroma", "VascularLesion", "melanoma"], "", "dermoscopy"),
        (["laminar", "turbulent", "ShearLayer", "wake"], "", "flow"),
        (["neutrophil", "monocyte", "eosinophil", "lymphocyte"], "", "microscopy"),
        (["a", "b"], "dtd", "texture"),
        (["cat", "dog"], "photos of pets", "natural"),
        # weak or misleading evidence
        (["NORMAL", "PNEUMONIA"], "", "natural"),
        (["first", "second"], "first_aid_kits", "natural"),
        (["rock", "paper", "scissors"], "rock_paper_scissors", "natural"),
        (
            ["coast", "forest", "highway", "insidecity", "mountain", "opencountry", "street", "tallbuilding"],
            "",
            "natural",
        ),
        (["buildings", "forest", "glacier", "mountain", "sea", "street"], "", "natural"),
        (["a", "b"], "", "natural"),
    ],
)
def test_guess(classes: list[str], source: str, domain: str) -> None:
    guessed, reason = guess_domain(classes, source)
    assert guessed.id == domain
    assert reason
    assert "\n" not in reason


def test_a_tie_is_natural_and_said() -> None:
    domain, reason = guess_domain(["a", "b"], "skin_histopathology")
    assert domain.id == "natural"
    assert "histology" in reason
    assert "dermoscopy" in reason


def test_coloured_pictures_are_not_radiographs() -> None:
    assert guess_domain(["a"], "ct_photos", {"grey_fraction": 0.0})[0].id == "natural"
    assert guess_domain(["a"], "ct", {"grey_fraction": 1.0})[0].id == "ct"


def test_every_domain_is_usable() -> None:
    domains = list_domains()
    assert {"natural", "satellite", "sar", "xray", "mri", "microscopy", "thin_section", "flow", "industrial"} <= {
        domain.id for domain in domains
    }
    for domain in domains:
        assert get_domain(domain.id) is domain
        assert 7 <= len(domain.ensemble) <= 12
        assert len(set(domain.ensemble)) == len(domain.ensemble)
        assert domain.note
        assert isinstance(domain.flip, bool)
        if domain.id != "natural":  # a keyword must find its own domain
            assert guess_domain(["a", "b"], domain.keywords[0])[0].id == domain.id
    assert not get_domain("xray").flip


def test_unknown_domain() -> None:
    with pytest.raises(ConfigError, match="did you mean 'satellite'"):
        get_domain("Satelite")
    with pytest.raises(ConfigError, match="choose one of natural"):
        get_domain("qqq")


def test_prompt_set() -> None:
    prompts = PromptSet("satellite", {"River": "a wide river", "Nowhere": "x"})
    assert prompts.words(["BareLand", "River"]) == ["bare land", "a wide river"]
    assert prompts.sentences(["BareLand", "River"])[1] == "a satellite photo of a wide river."
    ensemble = prompts.ensemble(["BareLand", "River"])
    assert [len(sentences) for sentences in ensemble] == [len(get_domain("satellite").ensemble)] * 2
    assert "an aerial view of bare land." in ensemble[0]
    assert PromptSet().sentences(["elephant"]) == ["a photo of a elephant."]
    assert PromptSet("natural", template="a {}!").sentences(["dog"]) == ["a dog!"]


def test_prompt_set_round_trip() -> None:
    prompts = PromptSet("mri", {"a": "b"}, "an MR image, {}")
    again = PromptSet.from_dict(json.loads(json.dumps(prompts.to_dict())))
    assert again.to_dict() == prompts.to_dict()
    assert again.sentences(["a", "c"]) == prompts.sentences(["a", "c"]) == ["an MR image, b", "an MR image, c"]
    assert again.ensemble(["a"]) == prompts.ensemble(["a"])
    with pytest.raises(ConfigError, match="'ensemble' is missing"):
        PromptSet.from_dict({"domain": "x", "title": "", "template": "{}", "flip": True, "words": {}})


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a {name}", "a {} {0}", "{ {} }"])
def test_bad_templates(template: str) -> None:
    with pytest.raises(ConfigError, match="must contain"):
        PromptSet("natural", template=template)
    with pytest.raises(ConfigError, match="must contain"):
        Domain("mine", "Mine", "{}", (template,))


def test_empty_ensemble() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Domain("mine", "Mine", "{}", ())


def test_classes_that_read_the_same_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="acclimate.prompts"):
        PromptSet().words(["BareLand", "bare_land"])
    assert "both read 'bare land'" in caplog.text


def test_prompts_need_no_torch() -> None:
    code = "import sys, acclimate.prompts; sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("geology", ["thin_section"]),
        ("Remote-Sensing", ["satellite", "sar"]),
        ("radiology", ["xray", "ct", "mri", "ultrasound"]),
        ("histolgy", ["histology"]),
    ],
)
def test_an_unknown_domain_is_suggested_by_meaning_then_by_spelling(word, meant):
    with pytest.raises(ConfigError) as refused:
        get_domain(word)
    assert str(refused.value).endswith(f"did you mean {' or '.join(map(repr, meant))}?")


def test_a_word_that_means_nothing_gets_the_list():
    with pytest.raises(ConfigError, match="choose one of natural, "):
        get_domain("zzz")
