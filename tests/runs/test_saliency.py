"""Where a model looks: maps of any method, as arrays, files and words."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import acclimate
from acclimate.backbones import load_backbone, load_domain_encoder, load_vlm
from acclimate.data import load_data
from acclimate.data.tiles import tile_boxes
from acclimate.errors import ConfigError, DataError
from acclimate.methods import get_method
from acclimate.prompts import PromptSet
from acclimate.runs import AdaptedModel, look_at_images
from acclimate.runs.saliency import Layer, SaliencyMap
from acclimate.runs.saliency_files import MapFiles, draw_map
from tests.helpers.command import acclimate as command
from tests.helpers.pictures import CLASSES, picture
from tests.helpers.real_data import real_set
from tests.helpers.runs import quick
from tests.helpers.tiny_backbones import tiny_clip
from tests.helpers.tiny_domain_encoders import CASES
from tests.helpers.tiny_vlms import tiny_llava

EPOCH = {"epochs": 1, "batch_size": 8}


@pytest.fixture(scope="module")
def sar():
    return load_data(real_set("sar_acd"))


def wide():
    """A picture twice as wide as it is high, of which the transform of the tiny CLIP sees the middle."""
    return picture(1, 3, size=(80, 40))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("coop", EPOCH),
        ("maple", EPOCH),
        ("clip-lora", EPOCH),
        ("linear-probe", {}),
        ("tip-adapter", {}),
    ],
)
def test_methods_that_read_the_image_tower_have_relevance(pictures, tiny, method, settings):
    model = quick(pictures, tiny, method=method, settings=settings)
    (found,) = look_at_images(model, wide())
    (said,) = model.predict(wide())
    assert (found.class_name, found.how) == (said.label, "relevance")
    assert found.probability == pytest.approx(said.probability, abs=1e-5)
    assert found.values.shape == (40, 80)
    assert (found.values.min(), found.values.max()) == (0, 1)


def test_what_is_cut_off_counts_for_nothing(pictures, tiny):
    model = quick(pictures, tiny, method="zero-shot", settings={})
    (found,) = look_at_images(model, wide())
    assert not found.values[:, :20].any()
    assert not found.values[:, 60:].any()
    assert found.values[:, 20:60].any(axis=0).all()


def test_tiles_are_looked_at_too(pictures, tiny):
    """Of a method that reads tiles, what is cut off from the whole image is seen in the tiles at its edges."""
    model = quick(pictures, tiny, method="kernel-ridge", settings={"tiles": "mean", "grid": 2})
    (found,) = look_at_images(model, wide())
    assert [layer.box for layer in found.layers] == [
        (0.0, 0.25, 1.0, 0.5), (0.0, 0.125, 0.5, 0.25), (0.0, 0.625, 0.5, 0.25), (0.5, 0.125, 0.5, 0.25),
        (0.5, 0.625, 0.5, 0.25),
    ]  # fmt: skip
    assert found.how == "relevance"


def test_a_map_depends_on_the_class(pictures, tiny):
    model = quick(pictures, tiny, method="linear-probe", settings={})
    maps = [next(look_at_images(model, picture(0, 9), name)) for name in CLASSES]
    assert [one.class_name for one in maps] == list(CLASSES)
    assert sum(one.probability for one in maps) == pytest.approx(1, abs=1e-5)
    alike = [np.corrcoef(one.values.ravel(), other.values.ravel())[0, 1] for one in maps for other in maps]
    assert sum(share > 0.99 for share in alike) == 3  # each with itself


def test_a_map_depends_on_the_weights(pictures, tiny, tmp_path):
    other = load_backbone(tiny_clip(tmp_path / "other", seed=5))
    maps = [
        next(look_at_images(quick(pictures, one, method="zero-shot", settings={}), picture(0, 9), "dog")).values
        for one in (tiny, other)
    ]
    assert np.corrcoef(*[one.ravel() for one in maps])[0, 1] < 0.9


def test_generative_models_are_looked_at_through_their_language_model(tmp_path):
    """The map changes with the class that is explained, and with the weights."""
    kind, models, maps = get_method("vlm-zero-shot"), [], {}
    for seed in (0, 1):
        method = kind(load_vlm(tiny_llava(tmp_path / str(seed), seed=seed)), kind.Config(), PromptSet("natural"))
        method.bind(CLASSES)
        models.append(AdaptedModel(method, {}))
    for number, model in enumerate(models):
        for name in ("cat", "dog"):
            (found,) = look_at_images(model, wide(), name)
            assert found.how == "relevance"
            assert found.probability == pytest.approx(
                model.predict(wide())[0].probabilities[CLASSES.index(name)], abs=1e-5
            )
            assert not found.values[:, :15].any()  # what the transform cuts off
            assert found.values.max() > 0.9
            maps[number, name] = found.values[:, 25:55].ravel()
        assert all(weight.grad is None for weight in model.backbone.model.parameters())
    assert np.corrcoef(maps[0, "cat"], maps[0, "dog"])[0, 1] < 0.9
    assert np.corrcoef(maps[0, "cat"], maps[1, "cat"])[0, 1] < 0.9


def test_looking_changes_nothing(pictures, tiny):
    model = quick(pictures, tiny)
    model.method.zero_grad()
    before = model.predict(wide())[0].probabilities
    list(look_at_images(model, wide()))
    assert np.array_equal(model.predict(wide())[0].probabilities, before)
    assert all(weight.grad is None for weight in model.method.parameters())


def test_cnn_encoders_are_looked_at_by_occlusion(pictures, tiny, tmp_path):
    CASES["convnext"].save(tmp_path)
    encoder = load_domain_encoder(tmp_path)
    model = quick(pictures, tiny, method="domain-linear-probe", settings={}, domain_encoder=encoder)
    (found,) = look_at_images(model, picture(0, 9, size=(64, 64)))
    assert found.how == "occlusion"
    assert found.values.max() == 1


def test_occlusion_finds_the_part_that_counts(pictures, tiny, tmp_path):
    """The value of a part is what the log-odds lose when it has the mean colour of the image."""
    CASES["convnext"].save(tmp_path)
    encoder = load_domain_encoder(tmp_path)
    model = quick(pictures, tiny, method="domain-linear-probe", settings={}, domain_encoder=encoder)
    image = picture(0, 9, size=(64, 64))
    (found,) = look_at_images(model, image, "dog")
    ((values,),) = ([layer.values for layer in found.layers],)
    row, column = np.unravel_index(values.argmax(), values.shape)
    covered, colour = np.array(image), np.asarray(image).reshape(-1, 3).mean(0).round()
    covered[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = colour
    odds = []
    for said in model.predict([image, covered]):
        share = said.probabilities[CLASSES.index("dog")]
        odds.append(np.log(share) - np.log1p(-share))
    assert values.max() == pytest.approx(odds[0] - odds[1], abs=1e-4)


@pytest.mark.parametrize(("method", "settings"), [("domain-linear-probe", {}), ("fine-tune", EPOCH)])
def test_domain_encoders_of_patches_have_relevance(pictures, tiny, domain_encoder, method, settings):
    model = quick(pictures, tiny, method=method, settings=settings, domain_encoder=domain_encoder)
    (found,) = look_at_images(model, picture(0, 9))
    assert found.how == "relevance"
    assert len(found.layers) == 1


def test_what_cannot_be_looked_at_is_refused(pictures, tiny, tmp_path):
    model = quick(pictures, tiny, method="zero-shot", settings={})
    with pytest.raises(ConfigError, match=r"`class_name='horse'`: the run knows cat, dog, river; name one of these"):
        look_at_images(model, wide(), "horse")
    with pytest.raises(ConfigError, match="give what `adapt` or `load` returns"):
        look_at_images("runs/mine", wide())
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        list(look_at_images(model, tmp_path / "broken.png"))
    broken, fine = look_at_images(model, [tmp_path / "broken.png", wide()], on_corrupt="skip")
    assert "broken.png" in broken.error
    assert fine.error == ""


def test_a_map_is_scaled_to_any_size():
    found = SaliencyMap("", "cat", 1.0, "relevance", layers=[Layer(np.array([[0.0, 2.0]]), (0.0, 0.0, 1.0, 1.0))])
    assert np.allclose(found.at(1, 8)[0], np.array([0, 0, 1, 3, 5, 7, 8, 8]) / 8)
    nothing = SaliencyMap("", "cat", 1.0, "relevance", layers=[Layer(np.zeros((2, 2)), (0.0, 0.0, 1.0, 1.0))])
    assert not nothing.at(5, 5).any()


def test_a_map_shows_itself_in_a_notebook():
    found = SaliencyMap(
        "", "cat", 1.0, "relevance", Image.new("RGB", (90, 30)), [Layer(np.eye(2), (0.0, 0.0, 1.0, 1.0))]
    )
    assert Image.open(io.BytesIO(found._repr_png_())).size == (90 * 2 + 8, 30)
    assert SaliencyMap("", error="damaged")._repr_png_() is None


def test_files_are_named_apart(tmp_path):
    image = Image.new("RGB", (90, 30))
    layers = [Layer(np.eye(2), (0.0, 0.0, 1.0, 1.0))]
    files = MapFiles(tmp_path / "maps", tmp_path / "run")
    paths = {
        files.write(SaliencyMap(path, name, 0.5, "relevance", image, layers))
        for path in ("a/x y.png", "b/x y.png", "a/x-y.png", "")
        for name in ("../cat", "dog/😀")
    }
    assert len(paths) == 8
    assert {path.parent for path in paths} == {tmp_path / "maps"}
    assert {path.suffix for path in paths} == {".png"}
    drawn = draw_map(SaliencyMap("", "cat", 0.5, "relevance", image, layers), side=30)
    assert drawn.size == (30, 10)
    assert np.asarray(drawn)[0, 0, 0] > np.asarray(drawn)[-1, 0, 0]


def test_the_verb(run, tiny_folders, picture_folder, tmp_path):
    words = ("look", run.folder, picture_folder / "test", "--backbone", tiny_folders["clip"], "--quiet")
    done = command(*words, "--out", tmp_path / "maps")
    assert done.code == 0, done.err
    assert "relevance" in done.out
    files = sorted((tmp_path / "maps").iterdir())
    assert len(files) == 15
    rows = command(*words, "--out", tmp_path / "maps", "--class", "dog", "--json").json
    assert {row["class"] for row in rows} == {"dog"}
    assert all(Image.open(row["file"]).width > Image.open(row["file"]).height for row in rows)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "broken.png").write_text("no image")
    picture(0, 1).save(tmp_path / "new" / "fine.png")
    done = command("look", run.folder, tmp_path / "new", "--backbone", tiny_folders["clip"], "--out", tmp_path / "maps")
    assert done.code == 2
    assert "1 of 2 images could not be read, the others are mapped" in done.error
    missing = command(
        "look", run.folder, tmp_path / "none", "--backbone", tiny_folders["clip"], "--out", tmp_path / "m"
    )
    assert missing.code == 2
    assert not (tmp_path / "m").exists()
    refused = command(*words, "--class", "horse")
    assert refused.code == 2
    assert "--class" in refused.error


def deleted(image, order):
    """The image, and copies of it with the first 2 to 12 of its 5 x 5 parts painted over, in an order."""
    pixels, images = np.array(image), [image]
    colour = pixels.reshape(-1, 3).mean(0)
    boxes = tile_boxes(image.size, 5)[1:]
    for number, place in enumerate(order[:12], start=1):
        left, top, right, bottom = boxes[place]
        pixels[top:bottom, left:right] = colour
        if number % 2 == 0:
            images.append(Image.fromarray(pixels.copy()))
    return images


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear-probe", "vpt"])
def test_painting_over_what_counts_loses_the_class_sooner(method, sar):
    """The deletion curve (Petsiuk et al. 2018, arXiv 1806.07421) of real images, against a random order of parts."""
    settings = {"epochs": 2} if method == "vpt" else {}
    model = acclimate.adapt(sar, method, "mini-clip", shots=8, settings=settings, device="cpu")
    random, areas = np.random.default_rng(0), []
    for found in look_at_images(model, sar.test.select(range(0, len(sar.test), len(sar.test) // 24))):
        assert found.how == "relevance"
        counts = [
            found.values[top:bottom, left:right].mean()
            for left, top, right, bottom in tile_boxes(found.image.size, 5)[1:]
        ]
        own = np.argsort(counts)[::-1]
        place = model.class_names.index(found.class_name)
        curves = (deleted(found.image, order) for order in (own, random.permutation(25), own[::-1]))
        areas.append([np.mean([said.probabilities[place] for said in model.predict(one)]) for one in curves])
    first, by_chance, last = np.mean(areas, axis=0)
    assert first < by_chance < last
    assert np.mean([own < other for own, other, _ in areas]) > 0.7


COLOURS = {"blue": (30, 30, 230), "green": (30, 200, 30), "red": (230, 30, 30)}


def square(name, place, random):
    """Grey noise, with a square of a colour in one of 4 x 4 places."""
    pixels = random.normal(128, 12, (32, 32, 3)).clip(0, 255).astype(np.uint8)
    row, column = divmod(int(place), 4)
    pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = COLOURS[name]
    return Image.fromarray(pixels)


@pytest.mark.slow
def test_a_generative_model_that_has_learned_colours_looks_at_them(tmp_path):
    """The pointing game (Zhang et al. 2016, arXiv 1608.00507), and deletion of that part against another one."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 1), ("test", 4)):
        for name in COLOURS:
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                square(name, random.integers(16), random).save(tmp_path / split / name / f"{number}.png")
    settings = {"epochs": 5, "lr": 1e-3, "batch_size": 8}
    model = acclimate.adapt(tmp_path, "instruct", "mini-vlm", shots="all", settings=settings, device="cpu")
    assert model.record["metrics"]["accuracy"]["value"] > 0.9  # else the maps can show nothing
    found, lost = [], []
    for name in COLOURS:
        for place in random.permutation(16)[:4]:
            image = square(name, place, random)
            (seen,) = look_at_images(model, image, name)
            assert seen.how == "relevance"
            brightest = int(seen.at(4, 4).argmax())
            found.append(brightest == place)
            other = random.choice([one for one in range(16) if one != brightest])
            kept = [row.probabilities[model.class_names.index(name)] for row in model.predict(
                [image, covered(image, brightest), covered(image, other)])]  # fmt: skip
            lost.append((kept[0] - kept[1], kept[0] - kept[2]))
    assert np.mean(found) > 0.5  # by chance 1 of 16
    of_brightest, of_another = np.mean(lost, axis=0)
    assert of_brightest > 0.1 > of_another


def covered(image, place):
    """The image with one of its 4 x 4 parts painted over."""
    pixels = np.array(image)
    left, top, right, bottom = tile_boxes(image.size, 4)[1:][place]
    pixels[top:bottom, left:right] = pixels.reshape(-1, 3).mean(0)
    return Image.fromarray(pixels)
