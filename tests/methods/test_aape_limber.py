"""AAPE for text: one more token before a frozen language model, and the two runs that come before it."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

import acclimate
from acclimate.backbones import load_vlm
from acclimate.errors import AcclimateError, ConfigError, DataError
from acclimate.methods.aape import AAPELimber, AAPELimberConfig
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from acclimate.training.inputs import REFERENCES
from tests.helpers.killing import kill_often
from tests.helpers.tiny_vlms import tiny_llava

CAPTIONS = ["a red stone", "a wet road by the sea"]
SETTINGS = {"epochs": 2, "prefix_epochs": 2, "prompt_epochs": 2, "lr": 0.02, "batch_size": 6}


@pytest.fixture(scope="module")
def name(tmp_path_factory, tiny_folders):
    return f"{tiny_folders['clip']}+{tiny_llava(tmp_path_factory.mktemp('language') / 'llava')}"


@pytest.fixture(scope="module")
def composed(name):
    return load_vlm(name)


@pytest.fixture(scope="module")
def batch(composed):
    pixels = torch.randn(3, 3, composed.image_size, composed.image_size, generator=torch.Generator().manual_seed(1))
    features = composed.encode(pixels, {"vision_tokens", "image_features"})
    return Batch(**features, lessons=torch.tensor([0, 1, 0]), index=torch.arange(3))


def make(composed, **settings):
    torch.manual_seed(0)
    method = AAPELimber(composed, make_config(AAPELimberConfig, settings), PromptSet())
    method.learn_captions(CAPTIONS)
    return method.eval()


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_composed_model_has_the_features_of_its_dual_encoder(family, name, tiny_folders):
    composed = load_vlm(f"{tiny_folders[family]}+{name.partition('+')[2]}")
    pixels = torch.randn(2, 3, composed.image_size, composed.image_size)
    found = composed.encode(pixels, {"image_features"})["image_features"]
    assert torch.allclose(found, composed.dual.encode_image(pixels), atol=1e-5)
    assert found.shape[1] == composed.widths["image_features"]


@pytest.mark.parametrize("token", ["aape", "image", "noise"])
def test_the_token_changes_the_output_through_its_map_alone(composed, batch, token):
    method = make(composed, token=token)
    answers = [CAPTIONS] * 3
    asked = [method.asks_for_captions] * 3
    shown = method.log_likelihood(batch, asked, answers)
    with method.ablations()["token zeroed"]:
        zeroed = method.log_likelihood(batch, asked, answers)
    assert not torch.allclose(shown, zeroed, atol=1e-4)
    with torch.no_grad():
        method.token_map.weight.zero_()
        method.token_map.bias.zero_()
    assert torch.equal(method.log_likelihood(batch, asked, answers), zeroed)
    if method.generator is not None:  # behind a map of zeros it cannot be seen
        with torch.no_grad():
            method.generator.layers[0].weight.add_(1.0)
        assert torch.equal(method.log_likelihood(batch, asked, answers), zeroed)


def test_what_the_token_is_made_of(composed, batch):
    images = F.normalize(batch.image_features.float(), dim=-1)
    assert torch.equal(make(composed, token="image").source(batch), images)
    method = make(composed)
    assert torch.equal(method.source(batch), method.generator(images))
    noise = make(composed, token="noise")
    drawn = noise.source(batch)
    assert torch.allclose(drawn.norm(dim=1), torch.ones(3))
    assert not torch.allclose(drawn[0], drawn[1], atol=0.1)
    assert torch.equal(noise.source(batch.take(torch.tensor([2, 0]))), drawn[[2, 0]])  # whatever it is beside


def test_who_learns(composed, batch):
    """U alone; with `fine_tuned` h beside it, never the map of the patches."""
    for settings, expected in (
        ({"distillation_weight": 0.0}, {"token_map"}),
        ({"distillation_weight": 0.0, "fine_tuned": True}, {"token_map", "generator"}),
    ):
        method = make(composed, **settings)
        sum(method.loss(batch).values()).backward()
        moved = {name.partition(".")[0] for name, one in method.named_parameters() if one.grad is not None}
        (stage,) = method.stages(None)
        names = {id(one): name.partition(".")[0] for name, one in method.named_parameters()}
        assert {names[id(one)] for one in stage.parameters} == expected <= moved
        assert "map" not in moved


def test_captions_describe_images_and_questions_do_not(composed):
    method = make(composed, fine_tuned=True)
    assert REFERENCES in method.inputs.training
    method.learn_answers([("how many?", "two")])
    assert REFERENCES not in method.inputs.training
    assert REFERENCES not in make(composed).inputs.training  # h is frozen


@pytest.mark.parametrize(
    ("backbone", "said"), [("mini-vlm", "'mini-vlm' has no dual encoder"), ("mini-clip", "is a dual encoder")]
)
def test_backbones_that_are_not_composed(backbone, said, caption_folder):
    with pytest.raises(ConfigError, match=said):
        acclimate.adapt(caption_folder, "aape-limber", backbone)


@pytest.fixture(scope="module")
def run(name, caption_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    settings = {**SETTINGS, "fine_tuned": True}
    return out, acclimate.adapt(caption_folder, "aape-limber", name, settings=settings, device="cpu", out=out)


@pytest.fixture(scope="module")
def prompt(name, caption_folder, tmp_path_factory):
    """A run of aape on the same captions."""
    out = tmp_path_factory.mktemp("prompt") / "run"
    settings = {"epochs": 2}
    acclimate.adapt(caption_folder, "aape", name.partition("+")[0], settings=settings, device="cpu", out=out)
    return out


@pytest.mark.slow
def test_the_runs_that_come_first(run, name, caption_folder, prompt, tmp_path):
    out, model = run
    before = model.record["prerequisites"]
    assert {key: one["method"] for key, one in before.items()} == {"prompt": "aape", "prefix": "limber"}
    store = {json.loads((one / "adapter.json").read_text())["method"] for one in (out / "prerequisites").glob("*/")}
    assert store == {"aape", "limber"}
    settings = {"epochs": 2, "lr": 0.02, "batch_size": 6}
    prefix = acclimate.adapt(caption_folder, "limber", name, settings=settings, device="cpu")
    assert torch.equal(model.method.map.layers.weight, prefix.method.map.layers.weight)
    assert "token zeroed" in model.record["ablations"]
    logged = [line for line in model.journal if "distillation" in line]
    assert logged[-1]["distillation"] < logged[0]["distillation"] * 1.5
    assert "reward" in logged[0]
    frozen = {**SETTINGS, "prompt_from": str(prompt)}
    given = acclimate.adapt(caption_folder, "aape-limber", name, settings=frozen, device="cpu")
    h = acclimate.load(prompt).method.generator.state_dict()
    assert all(torch.equal(tensor, h[key]) for key, tensor in given.method.generator.state_dict().items())
    assert given.record["prerequisites"]["prompt"]["run"] == str(prompt)


@pytest.mark.slow
def test_it_loads_and_writes_the_same(run, caption_folder):
    out, model = run
    loaded = acclimate.load(out)
    assert loaded.evaluate(caption_folder)["cider_d"] == model.record["metrics"]["cider_d"]
    assert loaded.method.aggregator is None


@pytest.mark.slow
def test_a_run_on_captions_answers_questions(run, picture_folder, tmp_path):
    """Zero-shot: nothing is learned from questions."""
    image = sorted((picture_folder / "test").rglob("*.png"))[0]
    (tmp_path / "questions.csv").write_text(f"image,question,answer,split\n{image},what is it?,a cat,test\n")
    loaded = acclimate.load(run[0])
    assert loaded.evaluate(tmp_path / "questions.csv")["samples"] == 1
    assert isinstance(loaded.ask(image, "what is it?")[0].answer, str)


PREPARE = """
import acclimate
from acclimate.backbones import load_vlm

composed, settings = load_vlm(inputs[1]), json.loads(inputs[2])

def train(out):
    acclimate.adapt(
        inputs[0], "aape-limber", composed, settings=settings, device="cpu", out=out, checkpoint_seconds=0.0
    )
"""


@pytest.mark.slow
def test_killed_in_each_of_its_trainings(name, caption_folder, tmp_path):
    """In that of h, in that of the map of the patches, and in its own."""
    inputs = [caption_folder, name, json.dumps({**SETTINGS, "fine_tuned": True})]
    kills = kill_often(PREPARE, inputs, [1, 3, 5], tmp_path / "unbroken", tmp_path / "killed")
    assert all(died and place <= lines < place + 2 for place, lines, died in kills)
    files = {path.relative_to(tmp_path / "unbroken") for path in (tmp_path / "unbroken").rglob("adapter.safetensors")}
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "unbroken" / file).read_bytes(), file


@pytest.mark.slow
def test_what_cannot_be_given(name, caption_folder, picture_folder, prompt, run, tmp_path):
    questions = tmp_path / "questions.csv"
    images = sorted(picture_folder.rglob("*.png"))
    splits = [image.parts[-3] for image in images]
    rows = [f"{image},what is it?,{image.parent.name},{split}" for image, split in zip(images, splits, strict=True)]
    questions.write_text("\n".join(["image,question,answer,split", *rows]))

    def adapt(data=questions, **settings):
        how = {"settings": {**SETTINGS, **settings}, "device": "cpu", "shots": "budget:6"}
        return acclimate.adapt(data, "aape-limber", name, **how)

    with pytest.raises(ConfigError, match="no captions, which the prompt of an image is learned from; give `prompt"):
        adapt()
    answered = adapt(prompt_from=str(prompt), fine_tuned=True)
    assert answered.task.name == "answering"
    assert "distillation" not in answered.journal[-1]
    with pytest.raises(ConfigError, match="holds what aape-limber has learned; give a run of aape"):
        adapt(prompt_from=str(run[0]))
    with pytest.raises(ConfigError, match="generator=bottleneck there and residual here"):
        adapt(prompt_from=str(prompt), generator="residual")
    with pytest.raises(AcclimateError, match="give the folder of a finished run of aape"):
        adapt(prompt_from=str(tmp_path))
    table = tmp_path / "captions.csv"
    lines = (caption_folder / "captions.csv").read_text().splitlines()
    swapped = [line.replace(",test", ",!").replace(",train", ",test").replace(",!", ",train") for line in lines]
    table.write_text("\n".join(swapped))
    data = acclimate.load_captions(table, images_root=caption_folder)
    with pytest.raises(DataError, match=r"has learned from .* test images"):
        adapt(data, prompt_from=str(prompt))
