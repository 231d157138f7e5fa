"""Every recipe is read, fits the data it is made for, and is described."""

from __future__ import annotations

import csv
import importlib.util
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from acclimate import synthetic
from acclimate.backbones import GenerativeVLM, list_backbones, load_vlm
from acclimate.bench import plan_bench, read_spec
from acclimate.bench.facts import prompts_of
from acclimate.bench.jobs import load_source, plan, select_by
from acclimate.bench.scores import read_scores
from acclimate.cli.app import app
from acclimate.data import ImageData, load_data
from acclimate.pretraining.labelled import LabelledSet
from acclimate.prompts import guess_domain
from acclimate.protocols import BaseToNovel
from tests.helpers.pictures import make_split_pictures
from tests.helpers.public_sets import MEDMNIST, NAMES, write_medmnist, write_public_sets
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_vlms import tiny_internvl

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted(path for path in (ROOT / "recipes").rglob("*.yaml") if path.parent.name != "prompts")
RECORDED = {
    "gdpl-settings.yaml": "gdpl_settings",
    "gdpl-mini.yaml": "gdpl",
    "gdpl-ablation.yaml": "gdpl_ablation",
}
WITHOUT_ENCODERS = {
    "aape-settings": "aape_settings",
    "aape-mini": "aape",
    "spg-settings": "spg_settings",
    "spg-pacs-mini": "spg",
}
GDPL = sorted(path for path in RECIPES if path.name.startswith("gdpl-"))
PUBLISHED = [path for path in RECIPES if path.parent.name == "published"]
MEDICAL = ROOT / "recipes/published/vitask-medmnist.yaml"
LARGE = {  # plans of thousands of jobs, or of nine data sets and more
    "coop-few-shot.yaml",
    "gdpl-ablation.yaml",
    "gdpl-mini.yaml",
    "maple-base-to-novel.yaml",
    "promptsrc-base-to-novel.yaml",
    "promptsrc-few-shot.yaml",
    "spg-multi-source.yaml",
    "spg-single-source.yaml",
}
DOCUMENTS = (ROOT / "docs/recipes.md", ROOT / "recipes/README.md")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def planned(paths: list[Path]) -> list[Any]:
    """Recipes to plan, the large ones marked as slow."""
    return [pytest.param(path, marks=[pytest.mark.slow] * (path.name in LARGE)) for path in paths]


def documented(path: Path) -> str:
    """The row of the table in docs/recipes.md that links a recipe, or nothing."""
    link = re.escape(path.relative_to(ROOT / "recipes").as_posix())
    rows = re.findall(rf"^\| `{link}` \|.*$", DOCUMENTS[0].read_text(encoding="utf-8"), re.MULTILINE)
    return rows[0] if rows else ""


def script(title: str) -> ModuleType:
    """A script that makes data of the published recipes."""
    spec = importlib.util.spec_from_file_location(title, ROOT / f"recipes/published/{title}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public data sets in small, with all lists."""
    root = write_public_sets(tmp_path_factory.mktemp("public"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["make_lists.py", str(root)])
        script("make_lists").main()
    return root


@pytest.fixture(scope="module")
def medical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of MedMNIST+ in small, and what is made of them."""
    root = write_medmnist(tmp_path_factory.mktemp("medical"))
    script("make_medmnist").main([str(root)])
    return root


@pytest.fixture(scope="module")
def tiny_vlms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GenerativeVLM]:
    """Tiny models in the places of those from the Hub."""
    folder = tmp_path_factory.mktemp("vlms")
    return {
        "OpenGVLab/InternVL3-1B-hf": load_vlm(tiny_internvl(folder / "1B")),
        "OpenGVLab/InternVL3-2B-hf": load_vlm(tiny_internvl(folder / "2B", seed=1)),
    }


@pytest.fixture(scope="module")
def sets() -> dict[object, ImageData]:
    """What was loaded already."""
    return {}


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 17
    assert len(PUBLISHED) >= 13
    assert len(GDPL) == 3


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_can_be_read(path: Path) -> None:
    spec = read_spec(path)
    for suite in spec.suites:
        for contender in suite.contenders:
            assert select_by(suite.protocol, contender)
    assert spec.reference in spec.labels
    assert set(spec.data) == {source for suite in spec.suites for source in suite.data}


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_says_how_it_is_started(path: Path) -> None:
    head = "".join(re.match(r"(#.*\n)+", path.read_text(encoding="utf-8")).group())
    commands = [line[1:].strip() for line in head.splitlines() if re.match(r"#\s+acclimate bench ", line)]
    assert len(commands) == 1
    words = shlex.split(commands[0])[2:]
    bench = typer.main.get_command(app).commands["bench"]
    values = bench.make_context("bench", words).params
    assert values["spec"].as_posix() == name(path)
    assert values["data_root"]


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_is_described(path: Path) -> None:
    assert documented(path) or any(path.name in page.read_text(encoding="utf-8") for page in DOCUMENTS)


def test_every_described_recipe_is_there() -> None:
    for page in DOCUMENTS:
        named = re.findall(r"`(?:recipes/)?((?:published/)?[\w-]+\.yaml)`", page.read_text(encoding="utf-8"))
        assert [recipe for recipe in named if not (ROOT / "recipes" / recipe).exists()] == []


def test_the_same_name_is_the_same_data_set_in_all_published_recipes() -> None:
    known: dict[str, object] = {}
    for path in PUBLISHED:
        for title, source in read_spec(path, Path("DATA")).data.items():
            assert known.setdefault(title, source) == source, f"{name(path)}: {title}"


def test_zero_shot_reads_the_template_of_a_data_set_and_other_methods_the_sentences_of_their_papers() -> None:
    spec = read_spec(ROOT / "recipes" / "published" / "promptsrc-base-to-novel.yaml", Path("DATA"))
    assert spec.data["oxford_pets"].templates == ("a photo of a {}, a type of pet.",)
    contenders = {one.label: one.templates for one in spec.suites[0].contenders}
    assert contenders["zero-shot"] is None
    assert contenders["promptsrc"] == ()
    maple = read_spec(ROOT / "recipes" / "published" / "maple-base-to-novel.yaml", Path("DATA"))
    contenders = {one.label: one.templates for one in maple.suites[0].contenders}
    assert contenders["zero-shot"] is None
    assert contenders["vision prompts"] == ("a photo of a {}.",)


@pytest.mark.parametrize("path", planned([path for path in PUBLISHED if path != MEDICAL]), ids=name)
def test_a_published_recipe_can_be_planned_on_its_data(
    path: Path, public: Path, sets: dict, tiny_backbones: dict
) -> None:
    spec = read_spec(path, public)
    for title, source in spec.data.items():
        if (title, source.path) not in sets:
            sets[title, source.path] = load_source(title, source)
    data = {title: sets[title, source.path] for title, source in spec.data.items()}
    backbones = dict(zip(spec.backbones, tiny_backbones.values(), strict=False))
    jobs = plan(spec, backbones, data)
    assert f"| {len(jobs):,} |" in documented(path)  # the page says how many
    for title, facts in ((title, facts) for job in jobs for title, facts in job.content["data"].items()):
        names = list(data[title].class_names)
        assert ("classes" in facts) == (names != sorted(names))  # an order that decides the result is in the hash


@pytest.mark.slow
def test_the_recipe_of_medmnist_can_be_planned_on_what_its_script_makes(
    medical: Path, tiny_vlms: dict, tiny: Any, domain_folder: Path
) -> None:
    spec = read_spec(MEDICAL, medical)
    alone, *asked = spec.suites
    assert alone.contenders[0].domain_encoder == "google/vit-base-patch16-224-in21k"
    tiny_encoder = replace(alone.contenders[0], domain_encoder=str(domain_folder))
    spec = replace(spec, suites=(replace(alone, contenders=(tiny_encoder,)), *asked))
    data = {title: load_source(title, source) for title, source in spec.data.items()}
    jobs = plan(spec, {**tiny_vlms, "mini-clip": tiny}, data)
    assert f"| {len(jobs):,} |" in documented(MEDICAL)
    assert {job.run.data for job in jobs} == MEDMNIST.keys() - {"chestmnist"}
    both_of = {job.run.data: job for job in jobs if job.label == "EP + RDA + CRT"}
    both = both_of["tissuemnist"]
    assert both.domain_encoder is None  # its run makes one
    published = {"task_encoder": "google/vit-base-patch16-224-in21k", "task_epochs": 30, "epochs": 2, "lr": 4e-5}
    published |= {"rank": 16, "alpha": 32.0, "dropout": 0.05, "weight_decay": 0.01, "batch_size": 16, "select": "last"}
    open_ones = {"exemplar": "cls", "rda": 1.0, "crt": 0.1, "rda_detach": True, "label_list": "always"}
    said = {"instruction": "Analyze the given kidney cortex microscope image. The possible diagnoses are: {labels}."}
    assert both.content["config"].items() >= (published | open_ones | said).items()
    for title, images in data.items():
        # answers are spelled as MedMNIST spells them
        assert prompts_of(both_of[title].content["data"], [title]).words(images.class_names) == list(images.class_names)


def test_the_commands_that_make_one_model_of_all_sets_of_medmnist_are_read() -> None:
    head = re.sub(r"(?m)^# *", "", "".join(re.match(r"(#.*\n)+", MEDICAL.read_text(encoding="utf-8")).group()))
    sets = re.search(r'SETS="([^"]*)"', head)[1]
    assert sets.split() == [f"DATA/{title}" for title in read_spec(MEDICAL).data]
    commands = typer.main.get_command(app).commands
    read = []
    for *words, command in (
        ("pretrain", "classifier", commands["pretrain"].commands["classifier"]),
        ("adapt", commands["adapt"]),
    ):
        line = re.search(rf"acclimate {' '.join(words)} (\$SETS(?:.*\\\n)*.*)", head)[1]
        given = shlex.split(line.replace("\\\n", "").replace("$SETS", sets))
        read.append(command.make_context(command.name, given).params)
        assert [path.as_posix() for path in read[-1]["data"]] == sets.split()
    assert read[0]["out"].as_posix() == read[1]["domain_encoder"]
    assert read[1]["set_"] == ["lr=4e-5", "epochs=2", "batch_size=16"]


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sets in the folders of the real ones, the smaller two with as many classes, and encoders for each."""
    root = tmp_path_factory.mktemp("domains")
    classes = {"aid": "abcd", "lithology": "abc", "sar_acd": "abcd", "chest_xray": "ab"}
    for seed, (title, letters) in enumerate(classes.items(), start=21):
        make_split_pictures(root / "DATA" / title, letters, {"train": 1, "val": 1, "test": 1})
        for kind in ("", "-untrained"):
            tiny_clip(root / f"runs/mae/{title}{kind}", seed=seed + 100 * len(kind))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("path", planned(GDPL), ids=name)
def test_a_recipe_of_gdpl_can_be_planned_with_the_encoders_that_its_commands_make(
    path: Path, domains: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(domains)
    spec = read_spec(path, Path("DATA"))
    jobs = plan_bench(spec, "cpu")
    assert f"| {len(jobs):,} |" in documented(path)
    if path.name in RECORDED:
        scores = read_scores(ROOT / "results" / RECORDED[path.name] / "results.csv")
        assert {score.run for score in scores} == {job.run for job in jobs}  # all of them were run, and no other
    read = {job.domain_encoder for job in jobs} - {None, "self"}
    made = set()
    mae = typer.main.get_command(app).commands["pretrain"].commands["mae"]
    for command in re.findall(r"acclimate pretrain mae ([^;\n]*)", path.read_text(encoding="utf-8")):
        for title, source in spec.data.items():
            values = mae.make_context("mae", shlex.split(command.replace("$name", title))).params
            assert values["data"] == source.path
            made.add(values["out"].as_posix())
    assert read == made


DOMAINS = {"rs-fewshot": 4, "pathology": 4, "bio": 3}  # and how many backbones from the Hub each reads


@pytest.mark.parametrize("title", DOMAINS)
def test_a_recipe_of_domain_checkpoints_can_be_planned(title: str, tmp_path: Path, tiny_backbones: dict) -> None:
    spec = read_spec(ROOT / f"recipes/{title}.yaml", tmp_path)
    known = {info.id for info in list_backbones() if info.served and not info.url}
    assert len(known.intersection(spec.backbones)) == len(spec.backbones) == DOMAINS[title]
    for source in spec.data.values():
        make_split_pictures(source.path, "ab", {"train": 16, "val": 1, "test": 1})
    data = {title: load_source(title, source) for title, source in spec.data.items()}
    two = dict(zip(spec.backbones, tiny_backbones.values(), strict=False))
    jobs = plan(replace(spec, backbones=tuple(two)), two, data)
    each = len(jobs) // len(two)
    assert f"| {each * len(spec.backbones):,} |" in documented(ROOT / f"recipes/{title}.yaml")


def test_classes_of_published_lists_are_divided_by_their_numbers(public: Path) -> None:
    spec = read_spec(ROOT / "recipes/published/cocoop-base-to-novel.yaml", public)
    flowers = load_source("flowers", spec.data["oxford_flowers"])
    assert flowers.class_names == NAMES
    trial = BaseToNovel().draw("flowers", {"flowers": flowers}, 16, 1)
    assert trial.train.class_names == NAMES[:3]
    assert trial.tests["novel"].class_names == NAMES[3:]


def test_lists_that_are_made(public: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = read_spec(ROOT / "recipes/published/imagenet-variants.yaml", public)
    loaded = {title: load_source(title, source) for title, source in spec.data.items()}
    classes = ("tench", "goldfish", "great white shark", "tiger shark", "sunglass", "sunglasses")
    assert loaded["imagenet"].class_names == loaded["imagenetv2"].class_names == classes
    assert loaded["imagenet_sketch"].class_names == classes
    assert loaded["imagenet_a"].class_names == classes[2:5]
    assert loaded["imagenet_r"].class_names == classes[1:4]
    assert {name: len(loaded["imagenet"].split(name)) for name in ("train", "val", "test")} == {
        "train": 18,
        "val": 0,
        "test": 6,
    }
    assert len(loaded["imagenet_a"].test) == len(loaded["imagenet_a"]) == 3

    vlcs = load_source("vlcs", read_spec(ROOT / "recipes/published/spg-multi-source.yaml", public).data["vlcs"])
    assert vlcs.domain_names == ("c", "l", "p", "s")
    assert vlcs.class_names == ("bird", "car", "chair", "dog", "person")
    assert {Path(key).parts[3] for key in vlcs.train.keys} == {"full"}
    assert {Path(key).parts[3] for key in vlcs.val.keys} == {"test"}

    before = (public / "imagenet/split_imagenet.json").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["make_lists.py", str(public), "--per-class", "1"])
        script("make_lists").main()
    assert (public / "imagenet/split_imagenet.json").read_bytes() == before
    assert capsys.readouterr().out.count("is there already") == 10
    assert len(script("make_lists").imagenet(public / "imagenet", 1)["train"]) == 6


def test_sets_that_are_made_of_medmnist(medical: Path) -> None:
    made = {title: load_data(medical / title) for title in MEDMNIST}
    for title, (classes, _) in MEDMNIST.items():
        assert len(made[title]) == 4 * classes
        assert {split: len(made[title].split(split)) for split in ("train", "val", "test")} == {
            "train": 2 * classes,
            "val": classes,
            "test": classes,
        }
    named = {title: source.domain for title, source in read_spec(MEDICAL, medical).data.items()}
    assert {title: guess_domain(made[title].class_names, title)[0].id for title in named} == named
    blood, breast, retina = (made[f"{title}mnist"] for title in ("blood", "breast", "retina"))
    assert "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)" in blood.class_names
    assert breast.class_names == ("malignant", "normal, benign")
    grades = ("no", "mild", "moderate", "severe", "proliferative")
    with (medical / "retinamnist/labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows[:5]] == [f"{grade} diabetic retinopathy" for grade in grades]
    assert set(retina.class_names) == {row["label"] for row in rows}

    for title, split, number in (("pathmnist", "val", 3), ("octmnist", "test", 2)):
        given = np.load(medical / f"{title}_224.npz")[f"{split}_images"][number]
        with Image.open(medical / title / f"images/{split}_{number:06}.png") as image:
            assert np.array_equal(np.asarray(image), given)

    chest = made["chestmnist"]
    several = LabelledSet("chest", chest.train, chest.val, chest.test, several=True)
    assert len(several.labels) == 14
    names = [several.labels[place] for place in several.targets(chest.train)[0].nonzero().flatten()]
    assert names == ["atelectasis", "cardiomegaly"]
    assert several.targets(chest.test).sum(1).tolist() == [2.0] * 13 + [0.0]


def test_what_is_made_of_medmnist_is_made_once_and_of_whole_files(
    medical: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (medical / "breastmnist/labels.csv").stat().st_mtime_ns
    script("make_medmnist").main([str(medical)])
    assert capsys.readouterr().out.count("is there already") == len(MEDMNIST)
    assert (medical / "breastmnist/labels.csv").stat().st_mtime_ns == before

    whole, file = (medical / "breastmnist_224.npz").read_bytes(), tmp_path / "breastmnist_224.npz"
    labels = {f"{split}_labels": np.full((1, 1), 2, np.uint8) for split in ("train", "val", "test")}
    small = {f"{split}_images": np.zeros((1, 28, 28), np.uint8) for split in ("train", "val", "test")}
    for wrong, said in (
        (whole[: len(whole) // 2], "File is not a zip file"),
        (labels, "there is a class 2, and breastmnist has classes 0 to 1"),
        ({name: array * 0 for name, array in labels.items()} | small, "224 x 224 pixels are wanted"),
        ({}, "There is no item named 'train_labels.npy' in the archive"),
    ):
        file.write_bytes(wrong) if isinstance(wrong, bytes) else np.savez(file, **wrong)
        with pytest.raises(SystemExit) as ended:
            script("make_medmnist").main([str(tmp_path)])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {file}: ")
        assert said in error
        assert error.count("\n") == 1
        assert not (tmp_path / "breastmnist/labels.csv").exists()
    file.write_bytes(whole)
    script("make_medmnist").main([str(tmp_path)])
    assert len(load_data(tmp_path / "breastmnist")) == 8


@pytest.mark.slow
def test_the_quick_recipe_fits_what_the_demo_writes(tmp_path: Path) -> None:
    demo = {parameter.name: parameter.default for parameter in typer.main.get_command(app).commands["demo"].params}
    folder = f"{getattr(demo['domain'], 'value', demo['domain'])}-seed{demo['seed']}"
    spec = read_spec(ROOT / "recipes/quick.yaml", tmp_path)
    assert [source.path for source in spec.data.values()] == [tmp_path / folder]
    synthetic.write_dataset("thin_section", tmp_path / folder, per_class=2, size=32, seed=1)
    assert len(plan_bench(spec, "cpu")) == 56


@pytest.mark.parametrize(("recipe", "folder"), WITHOUT_ENCODERS.items())
def test_all_that_is_recorded_was_run_as_its_recipe_says(recipe: str, folder: str) -> None:
    spec = read_spec(ROOT / f"recipes/{recipe}.yaml", Path("DATA"))
    scores = read_scores(ROOT / f"results/{folder}/results.csv")
    expected = {
        (contender.label, data, str(shots), seed)
        for suite in spec.suites
        for contender in suite.contenders
        for data in suite.data
        for shots in suite.shots
        for seed in suite.seeds
    }
    assert {(score.run.method, score.run.data, score.run.shots, score.run.seed) for score in scores} == expected


def test_the_sentences_of_every_set_that_aape_was_chosen_on_are_kept() -> None:
    spec = read_spec(ROOT / "recipes/aape-settings.yaml", Path("DATA"))
    prompts = {path.stem for path in (ROOT / "recipes/prompts").glob("*.yaml")}
    assert {data for suite in spec.suites for data in suite.data} <= prompts
