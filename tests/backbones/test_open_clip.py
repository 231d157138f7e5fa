"""Checkpoints in the layouts of OpenAI's CLIP and open_clip, each made from a random model of transformers."""

from __future__ import annotations

import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel

from acclimate.backbones import convert_backbone, load_backbone, load_domain_encoder
from acclimate.backbones.checkpoints import read_tokenizer
from acclimate.backbones.hub import find_folder
from acclimate.backbones.open_clip.facts import facts_of
from acclimate.backbones.open_clip.mapping import Sizes
from acclimate.backbones.open_clip.tokenizing import clip_tokenizer, write_tokenizer
from acclimate.errors import BackboneError, RunError
from tests.helpers.open_clip_layout import (
    CONFIG,
    copy_tokenizer,
    open_clip_config,
    open_clip_names,
    tiny_model,
    write_layout,
)
from tests.helpers.tiny_backbones import randomise, tiny_clip

TEXTS = ["a photo of a cat", "bare land, storage tanks"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny CLIP with heads of 64, and its own folder."""
    folder = tmp_path_factory.mktemp("plain")
    return tiny_model(folder), folder


@pytest.fixture
def bare(tmp_path):
    """Write a bare file with the tokenizer beside it."""

    def write(content, name="model.pt"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        copy_tokenizer(tmp_path / "bare")
        torch.save(content, tmp_path / "bare" / name)
        return tmp_path / "bare" / name

    return write


def refusal(load, *arguments, **options):
    with pytest.raises(BackboneError) as caught:
        load(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def same_weights(*folders):
    found, wanted = (load_file(folder / "model.safetensors") for folder in folders)
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_hub_layout(model, tmp_path):
    """All of it from open_clip_config.json; equal to transformers' own forward of the model that it was made from."""
    plain, original = model
    folder = write_layout(tmp_path / "hub", plain)
    here, there = load_backbone(folder), load_backbone(original)
    pixels, ids = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)), here.tokenize(TEXTS)
    with torch.no_grad():
        wanted = plain(input_ids=ids, pixel_values=pixels).logits_per_image
        image, text = here.encode_image(pixels), here.encode_text(TEXTS)
        cosines = nn.functional.normalize(image, dim=-1) @ nn.functional.normalize(text, dim=-1).T
    torch.testing.assert_close(here.scaled(cosines), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(image, there.encode_image(pixels))
    assert torch.equal(text, there.encode_text(TEXTS))
    assert (here.identity, here.transform) == (there.identity, there.transform)
    assert here.place.local
    assert here.place.folder == folder.resolve()
    assert load_domain_encoder(folder).fingerprint == load_domain_encoder(original).fingerprint
    pickled = find_folder(str(write_layout(tmp_path / "bin", plain, "open_clip_pytorch_model.bin")))
    assert same_weights(pickled, original)


def wrapped(names):
    """As open_clip's training saves: a wrapper, the prefix of distributed training, and an optimizer's state."""
    state = {f"module.{name}": value for name, value in names.items()}
    return {"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}


def custom(names):
    """A text tower in a class of its own (CustomTextCLIP)."""
    own = {name: value for name, value in names.items() if name.startswith("visual.") or name == "logit_scale"}
    return own | {f"text.{name}": value for name, value in names.items() if name not in own}


def openai(names):
    """As OpenAI's own state dict: three numbers beside the weights, and the causal mask of later copies."""
    numbers = {"input_resolution": 32, "context_length": 24, "vocab_size": 6144}
    return names | {name: torch.tensor(value) for name, value in numbers.items()} | {"attn_mask": torch.zeros(24, 24)}


def linear(names):
    """A text projection kept as a linear layer."""
    names = dict(names)
    return {"text_projection.weight": names.pop("text_projection").t().contiguous(), **names}


def listed(names):
    """A logit scale of one element (a list in open_clip's words)."""
    return names | {"logit_scale": names["logit_scale"].reshape(1)}


@pytest.mark.parametrize("form", [dict, wrapped, custom, openai, linear, listed])
def test_bare_files(model, bare, form, tmp_path):
    """The same model from every form of state dict; the weights end up exactly as transformers saves them."""
    plain, original = model
    file = bare(form(open_clip_names(plain)))
    activation = None if form is openai else "quick_gelu"
    folder = convert_backbone(file, tmp_path / "out", activation)
    assert same_weights(folder, original)
    config, known = CLIPConfig.from_pretrained(folder), CLIPConfig.from_pretrained(original)
    for tower in ("text_config", "vision_config"):
        found, there = getattr(config, tower).to_dict(), getattr(known, tower).to_dict()
        assert {key for key in there if found[key] != there[key]} <= {"projection_dim"}  # which no tower reads
    if form is not openai:
        message = refusal(load_backbone, file)
        assert str(file) in message
        assert "quick_gelu or gelu cannot be seen from weights" in message
        assert "acclimate backbones convert" in message


def test_half_precision_stays_as_it_is_stored(model, bare, tmp_path):
    names = {name: value.half() for name, value in open_clip_names(model[0]).items()}
    names["ln_final.weight"] = names["ln_final.weight"].double()  # mixed types occur; 64 bits become 32
    folder = convert_backbone(bare(names), tmp_path / "out", "gelu")
    written = load_file(folder / "model.safetensors")
    assert written["text_model.final_layer_norm.weight"].dtype == torch.float32
    assert written["visual_projection.weight"].dtype == torch.float16
    backbone = load_backbone(folder)
    assert backbone.dtype == torch.float32
    assert torch.equal(backbone.vision_projection, names["visual.proj"].t().float())


@pytest.mark.parametrize(
    ("changes", "activations"),
    [
        ({"quick_gelu": True}, ("quick_gelu", "quick_gelu")),
        ({"quick_gelu": "TRUE"}, ("quick_gelu", "quick_gelu")),  # as robust CLIPs on the Hub write it
        ({"quick_gelu": False}, ("gelu", "gelu")),
        ({"quick_gelu": None, "text_cfg__act_kwargs": {"approximate": "tanh"}}, ("gelu", "gelu_pytorch_tanh")),
    ],
)
def test_activations(model, tmp_path, changes, activations):
    config = json.loads((convert_backbone(write_layout(tmp_path / "in", model[0], **changes), tmp_path / "out")
                         / "config.json").read_text())  # fmt: skip
    assert (config["vision_config"]["hidden_act"], config["text_config"]["hidden_act"]) == activations


def test_an_activation_that_is_said_goes_before_the_configuration(model, tmp_path):
    folder = convert_backbone(write_layout(tmp_path / "in", model[0]), tmp_path / "out", "gelu")
    assert json.loads((folder / "config.json").read_text())["text_config"]["hidden_act"] == "gelu"
    assert "give quick_gelu or gelu" in refusal(convert_backbone, tmp_path / "in", tmp_path / "more", "relu")


def test_heads_epsilon_and_pixels_from_the_configuration(tmp_path):
    """Narrow heads, which no rule would find, equal to transformers' forward."""
    config = CLIPConfig(
        text_config={**SMALL, "num_attention_heads": 2, "layer_norm_eps": 1e-3},
        vision_config={**SMALL, "num_attention_heads": 4, "image_size": 35, "patch_size": 8, "layer_norm_eps": 1e-4},
        projection_dim=24,
    )
    plain = randomise(CLIPModel(config))
    folder = write_layout(
        tmp_path / "in",
        plain,
        vision_cfg__norm_kwargs={"eps": 1e-4},
        text_cfg__norm_kwargs={"eps": 1e-3},
        preprocess_cfg__mean=0.5,
        preprocess_cfg__std=[0.5, 0.25, 0.125],
        preprocess_cfg__resize_mode="squash",
        preprocess_cfg__interpolation="bilinear",
    )
    backbone = load_backbone(folder)
    pixels, ids = torch.randn(2, 3, 35, 35), backbone.tokenize(TEXTS)
    with torch.no_grad():
        wanted = plain(input_ids=ids, pixel_values=pixels)
        image = nn.functional.normalize(backbone.encode_image(pixels), dim=-1)
    torch.testing.assert_close(image, wanted.image_embeds, atol=1e-5, rtol=1e-5)
    text = nn.functional.normalize(backbone.encode_text(TEXTS), dim=-1)
    torch.testing.assert_close(text, wanted.text_embeds, atol=1e-5, rtol=1e-5)
    transform = backbone.transform
    assert (transform.resize, transform.crop, transform.resample) == ((35, 35), None, "bilinear")
    assert (transform.mean, transform.std) == ((0.5, 0.5, 0.5), (0.5, 0.25, 0.125))


SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 6144, "eos_token_id": 6143,
    "bos_token_id": 6142, "pad_token_id": 6143, "max_position_embeddings": 20, "hidden_act": "quick_gelu",
}  # fmt: skip


def test_a_configuration_of_the_first_form(model, tmp_path):
    """Without `model_cfg` around it, and with nothing about pixels but where the weights once were."""
    folder = write_layout(tmp_path / "in", model[0])
    config = open_clip_config(model[0])["model_cfg"]
    (folder / CONFIG).write_text(json.dumps(config | {"preprocess_cfg": {"hf_hub": "org/name/file.bin"}}))
    assert same_weights(find_folder(str(folder)), model[1])


@pytest.mark.parametrize(("width", "heads"), [(512, 8), (768, 12), (1024, 16), (1280, 16), (1408, 16), (1664, 16)])
def test_heads_of_bare_files(tmp_path, width, heads):
    """As the models of these widths have them: B, L, and H, g, bigG of open_clip, whose heads are wider than 64."""
    sizes = Sizes(512, 14, 16, width, 2, 4 * width, 512, 2, 2048, 49408, 77)
    assert facts_of(tmp_path / "x.pt", (), sizes, activation="gelu").heads == (heads, 8)
    odd = Sizes(512, 14, 16, 1000, 2, 4000, 512, 2, 2048, 49408, 77)
    message = refusal(facts_of, tmp_path / "x.pt", (), odd, activation="gelu")
    assert "do not say how many attention heads" in message
    assert "head_width and heads" in message


def test_clips_own_tokenizer(tmp_path):
    """Ids as CLIP's authors publish them; for a bare file with 49,408 tokens and no tokenizer beside it."""
    assert clip_tokenizer(77)("a photo of a cat, a dog.")["input_ids"] == [
        49406, 320, 1125, 539, 320, 2368, 267, 320, 1929, 269, 49407,
    ]  # fmt: skip
    write_tokenizer(tmp_path, None, 49408, 77, tmp_path)
    assert read_tokenizer(tmp_path)("A  cat")["input_ids"] == [49406, 320, 2368, 49407]


def with_names(*names):
    return lambda own: own | {name: torch.zeros(2) for name in names}


def without(*names):
    return lambda own: {name: value for name, value in own.items() if name not in names}


OTHERS = [
    (with_names("visual.layer1.0.conv1.weight"), "a ResNet", "openai/clip-vit-base-patch32"),
    (with_names("text_decoder.ln_final.weight"), "a CoCa", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    (with_names("visual.attn_pool.query"), "pools by attention", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"),
    (with_names("visual.trunk.blocks.0.x", "logit_bias"), "a SigLIP in open_clip's form", "google/siglip-base"),
    (with_names("text.transformer.embeddings.x"), "a model of Hugging Face", "laion/CLIP-ViT-B-32"),
    (with_names("text.transformer.encoder.x"), "a model of Hugging Face (T5)", "laion/CLIP-ViT-B-32"),
    (with_names("visual.trunk.blocks.0.x"), "a model of timm (EVA", "laion/CLIP-ViT-L-14"),
    (with_names("visual.blocks.0.x", "visual.rope.freqs_cos"), "an EVA-CLIP", "laion/CLIP-ViT-L-14"),
    (with_names("positional_embedding_res"), "a Long-CLIP", "openai/clip-vit-large-patch14"),
    (with_names("text_model.final_layer_norm.weight"), "named as transformers names them", "save_pretrained"),
    (with_names("visual.transformer.resblocks.0.ls_1.gamma"), "resblocks.0.ls_1.gamma", "another form"),
    (with_names("logit_bias"), "the weight logit_bias", "another form"),
    (without("visual.proj"), "no visual.proj", "both towers"),
    (without("visual.transformer.resblocks.1.ln_1.weight"), "image tower has the layers [0, 2]", "one model, whole"),
]


@pytest.mark.parametrize(("change", "what", "instead"), OTHERS, ids=[what for _, what, _ in OTHERS])
def test_other_models_are_refused_by_name(model, bare, change, what, instead):
    file = bare(change(open_clip_names(model[0])))
    message = refusal(convert_backbone, file, file.parent / "out", "quick_gelu")
    assert str(file) in message
    assert what in message
    assert instead in message
    assert not (file.parent / "out").exists()


ENTRIES = [
    ({"vision_cfg__timm_model_name": "vit_base"}, "vision_cfg.timm_model_name='vit_base' is not followed here"),
    ({"text_cfg__hf_model_name": "bert"}, "text_cfg.hf_model_name='bert' is not followed"),
    ({"vision_cfg__pool_type": "avg"}, "vision_cfg.pool_type='avg'"),
    ({"vision_cfg__no_ln_pre": True}, "vision_cfg.no_ln_pre=True"),
    ({"text_cfg__no_causal_mask": True}, "text_cfg.no_causal_mask=True"),
    ({"text_cfg__a_new_thing": 3}, "text_cfg.a_new_thing=3"),
    ({"multimodal_cfg": {"width": 3}}, "model_cfg.multimodal_cfg"),
    ({"vision_cfg__layers": 12}, "vision_cfg.layers=12, and the weights say 3"),
    ({"vision_cfg__image_size": 48}, "vision_cfg.image_size=48, and the weights have 4 x 4 patches of 8"),
    ({"vision_cfg__head_width": 48}, "vision_cfg.head_width=48 does not divide the width 64"),
    ({"text_cfg__heads": 5}, "text_cfg.heads=5 do not divide the width 64"),
    ({"quick_gelu": "FALSE"}, "quick_gelu='FALSE'; write true or false"),
    ({"text_cfg__act_kwargs": {"approximate": "other"}}, "text_cfg.act_kwargs"),
    ({"preprocess_cfg__mean": [1, 2]}, "preprocess_cfg.mean=[1, 2] are no three numbers"),
    ({"preprocess_cfg__resize_mode": "longest"}, "resize_mode='longest'"),
    ({"vision_cfg": 3}, "has no vision_cfg"),
]


@pytest.mark.parametrize(("changes", "words"), ENTRIES, ids=[next(iter(changes)) for changes, _ in ENTRIES])
def test_configurations_that_cannot_be_followed(model, tmp_path, changes, words):
    folder = write_layout(tmp_path / "in", model[0], **{"quick_gelu": False, **changes})
    message = refusal(load_backbone, folder)
    assert words in message
    assert str(folder / CONFIG) in message


class Runs:
    """What a pickle of ill will holds."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_runs_nothing(model, tmp_path, bare):
    names = open_clip_names(model[0])
    for legacy in (False, True):
        file = bare({})
        torch.save({**names, "more": Runs(tmp_path / "ran")}, file, _use_new_zipfile_serialization=not legacy)
        message = refusal(load_backbone, file)
        assert f"{file} holds more than weights" in message
        assert "could run code when opened" in message
        assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Runs(tmp_path / "ran")))  # so it would have
    assert (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_files_that_hold_no_weights(bare, tmp_path):
    assert "holds no tensors (it has 'epoch')" in refusal(load_backbone, bare({"epoch": 3}))
    assert "holds a list, and no weights by name" in refusal(load_backbone, bare([1, 2]))
    file = bare({})
    file.write_bytes(b"PK\x03\x04 and no more")
    assert f"{file} cannot be read" in refusal(load_backbone, file)
    file.write_bytes(b"")
    assert f"{file} cannot be read" in refusal(load_backbone, file)
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), file)
    assert "is a TorchScript archive" in refusal(load_backbone, file)
    safe = tmp_path / "x.safetensors"
    safe.write_bytes(b"nothing")
    assert f"{safe} is damaged" in refusal(load_backbone, safe)


def test_a_tokenizer_of_another_model(model, tmp_path):
    folder = write_layout(tmp_path / "in", model[0])
    for path in folder.glob("*token*"):
        path.unlink()
    (folder / "vocab.json").unlink()
    assert "the model knows 6144 tokens, and CLIP's own has 49408" in refusal(load_backbone, folder)
    (folder / CONFIG).write_text(json.dumps(open_clip_config(model[0], text_cfg__hf_tokenizer_name="org/bert")))
    assert "names the tokenizer 'org/bert'" in refusal(load_backbone, folder)


def test_a_folder_of_several_checkpoints(model, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("one.pt", "two.pt"):
        torch.save(openai(open_clip_names(model[0])), folder / name)
    assert f"give one of them, such as {folder / 'one.pt'}" in refusal(load_backbone, folder)
    copy_tokenizer(folder)
    assert same_weights(find_folder(str(folder / "two.pt")), model[1])
    (folder / "one.pt").unlink()
    assert same_weights(find_folder(str(folder)), model[1])


def test_a_checkpoint_is_written_once_and_again_when_it_changes(model, tmp_path, caplog):
    folder = write_layout(tmp_path / "in", model[0])
    caplog.set_level("INFO", "acclimate.backbones")
    first = find_folder(str(folder))
    assert find_folder(str(folder)) == first
    assert sum("is now in Hugging Face format" in line for line in caplog.messages) == 1
    names = {name: value.contiguous() for name, value in open_clip_names(model[0]).items()}
    save_file(names | {"visual.proj": -names["visual.proj"]}, folder / "open_clip_model.safetensors")
    assert not same_weights(find_folder(str(folder)), first)
    (folder / CONFIG).write_text(json.dumps(open_clip_config(model[0], quick_gelu=False)))
    assert '"hidden_act": "gelu"' in (find_folder(str(folder)) / "config.json").read_text()
    assert len(list((tmp_path / "cache" / "backbones").iterdir())) == 3


def test_a_plain_folder_goes_before_open_clips(model, tmp_path):
    """Repositories that have both forms load as they did."""
    folder = write_layout(tmp_path / "in", model[0], quick_gelu=False)
    for path in model[1].iterdir():
        shutil.copy(path, folder)
    assert find_folder(str(folder)) == folder
    assert not (tmp_path / "cache").exists()


def test_convert_writes_nothing_over_anything(model, tmp_path):
    folder = write_layout(tmp_path / "in", model[0])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match=r"out is no empty folder; choose another `out`"):
        convert_backbone(folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert "holds no checkpoint to convert" in refusal(convert_backbone, model[1], tmp_path / "other")
    (tmp_path / "empty").mkdir()
    assert convert_backbone(folder, tmp_path / "empty").is_dir()


def test_weights_that_transformers_has_pickled(tmp_path):
    """The other kind of pickle: a folder as transformers wrote it before safetensors."""
    original = tiny_clip(tmp_path / "plain")
    folder = shutil.copytree(original, tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "acclimate backbones convert" in refusal(load_backbone, folder)
    out = convert_backbone(folder, tmp_path / "out")
    assert same_weights(out, original)
    assert load_backbone(out).family == "clip"
    torch.save({"x": Runs(tmp_path / "ran")}, folder / "pytorch_model.bin")
    assert "holds more than weights" in refusal(convert_backbone, folder, tmp_path / "more")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "more").exists()


def test_a_name_that_the_catalogue_knows_and_another_model(model, bare):
    file = bare(open_clip_names(model[0]), "RemoteCLIP-ViT-B-32.pt")
    assert "RemoteCLIP ViT-B/32 reads 224 pixels, these weights 32" in refusal(load_backbone, file)
