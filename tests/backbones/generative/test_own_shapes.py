"""Images in their own shapes: the tokens, ids and logits of transformers' own processors and forward."""

from __future__ import annotations

import pytest
import torch
import transformers
from PIL import Image

from acclimate.errors import BackboneError
from tests.helpers.tensors import close
from tests.helpers.tiny_vlms import image_processor, plain_ids

SHAPED = ["llava_next", "llava_onevision", "internvl", "idefics3", "smolvlm", "qwen2_5_vl", "qwen3_vl"]
SIZES = [(90, 50), (40, 80), (33, 33)]


def images():
    generator = torch.Generator().manual_seed(0)
    return [
        Image.fromarray(torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy())
        for width, height in SIZES
    ]


@pytest.mark.parametrize(
    "name", [name if name == "qwen3_vl" else pytest.param(name, marks=pytest.mark.slow) for name in SHAPED]
)
def test_logits_equal_those_of_transformers(name, vlm_pairs):
    pair = vlm_pairs(name)
    vlm, given, processor = pair.vlm, images(), image_processor(pair.folder)
    own = vlm.encode_images(given)
    assert len({len(image.tokens) for image in own}) > 1
    words = [("what is it?", "a dog"), ("which land use?", "bare land"), ("x", "y")]
    asked = [vlm.conversation(*pair_, image_tokens=image) for pair_, image in zip(words, own, strict=True)]
    ours, plain = vlm.response_logits(asked, own), []
    for conversation, image in zip(asked, given, strict=True):
        inputs = dict(processor(images=[image], return_tensors="pt"))
        inputs = {key: value for key, value in inputs.items() if key not in {"num_patches", "rows", "cols"}}
        if "qwen" in name:
            inputs["mm_token_type_ids"] = (conversation.ids == pair.image_id).int()[None]
        with torch.no_grad():
            logits = pair.plain(input_ids=conversation.ids[None], **inputs).logits[0]
        plain.append(logits[conversation.response.nonzero()[:, 0] - 1])
    close(ours, torch.cat(plain), 1e-5 * max(1.0, float(ours.abs().max())))
    exemplars = torch.randn(3, 1, vlm.token_width)
    more = [vlm.conversation("x", exemplars=1, image_tokens=image) for image in own]
    together = vlm.generate(more, own, exemplars, 3)
    assert together == [vlm.generate([c], [i], e[None], 3)[0] for c, i, e in zip(more, own, exemplars, strict=True)]
    totals, _ = vlm.score(more, ["a dog", "land"], own, exemplars)
    alone = [vlm.score([c], ["a dog", "land"], [i], e[None])[0] for c, i, e in zip(more, own, exemplars, strict=True)]
    close(totals, torch.cat(alone), 1e-4)


@pytest.mark.parametrize(
    "name", ["llava", *(pytest.param(name, marks=pytest.mark.slow) for name in ("idefics3", "paligemma", "gemma3"))]
)
def test_ids_equal_those_of_transformers_processor(name, vlm_pairs):
    """Those whose processors do without torchvision."""
    pair = vlm_pairs(name)
    image_processor(pair.folder)
    for image, own in zip(images(), pair.vlm.encode_images(images()), strict=True):
        ids = pair.vlm.conversation("what is it? a dog", image_tokens=own).ids.tolist()
        assert ids == plain_ids(pair, "what is it? a dog", image)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["internvl", "smolvlm", "qwen2_5_vl"])
def test_images_are_written_as_transformers_processor_writes_them(name, vlm_pairs):
    """Those whose processors need torchvision, by the one function of theirs that does not."""
    pair = vlm_pairs(name)
    kind = {"internvl": "InternVL", "smolvlm": "SmolVLM", "qwen2_5_vl": "Qwen2VL"}[name]
    processor = getattr(transformers, f"{kind}Processor", None)
    if not hasattr(processor, "replace_image_token"):
        pytest.skip("this transformers writes them elsewhere")
    tokenizer = pair.vlm.tokenizer.tokenizer
    for image, own in zip(images(), pair.vlm.encode_images(images()), strict=True):
        made = dict(image_processor(pair.folder)(images=[image], return_tensors="pt"))
        fields = {
            "image_token": tokenizer.convert_ids_to_tokens(pair.image_id),
            "image_seq_len": 4,
            "image_seq_length": 4,
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "image_processor": image_processor(pair.folder),
        }
        block = processor.replace_image_token(type("Processor", (), fields), made, 0)
        if name == "qwen2_5_vl":
            block = f"<|vision_start|>{block}<|vision_end|>"
        wanted = tokenizer(block, add_special_tokens=False)["input_ids"]
        ids = pair.vlm.conversation("x", image_tokens=own).ids.tolist()
        assert any(ids[start : start + len(wanted)] == wanted for start in range(len(ids)))


def test_one_shape_is_that_of_encode(llava):
    given = images()
    own = llava.vlm.encode_images(given)
    pixels = torch.stack([llava.vlm.transform.normalise(llava.vlm.transform(image)) for image in given])
    found = llava.vlm.encode(pixels, ["image_tokens", "image_features"])
    close(torch.stack([image.tokens.flatten() for image in own]), found["image_tokens"], 1e-5)
    close(torch.stack([image.vision for image in own]), found["image_features"], 1e-5)


def test_torchvision_is_asked_for_in_one_line(vlm_pairs, monkeypatch):
    def missing(**settings):
        raise ImportError("\nQwen2VLImageProcessorPil requires the Torchvision library")

    vlm = vlm_pairs("qwen3_vl").vlm
    vlm.__dict__.pop("_image_processor", None)
    with monkeypatch.context() as patch:
        patch.setattr(transformers, "Qwen2VLImageProcessorPil", missing)
        with pytest.raises(BackboneError, match="needs torchvision; install a newer transformers") as caught:
            vlm.encode_images(images())
    assert "\n" not in str(caught.value)


def test_an_image_that_the_processor_refuses(vlm_pairs):
    with pytest.raises(BackboneError, match="refuses an image of 1000x1 pixels"):
        vlm_pairs("qwen3_vl").vlm.encode_images([Image.new("RGB", (1000, 1))])
