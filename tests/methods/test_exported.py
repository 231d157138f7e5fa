"""Every method that classifies, as a graph: what onnxruntime says is what the method says, in batches of any size."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from acclimate.data.tiles import cut
from acclimate.errors import ConfigError, RunError
from acclimate.exporting import ClassifierGraph
from acclimate.exporting.folder import WEIGHTS
from acclimate.exporting.onnx import TOLERANCE, compare, open_session, write_graph
from acclimate.methods import AnsweringClassifier, Classifier, get_method, list_methods
from tests.helpers.methods import FACTS, learn, make, whole

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

QUICK = "zero-shot"  # of which constants are left; a method with tiles and two encoders is in tests/exporting
METHODS = [
    pytest.param(one.name, marks=() if one.name == QUICK else pytest.mark.slow)
    for one in list_methods()
    if issubclass(one, Classifier) and not issubclass(one, AnsweringClassifier)
]


def taught(world, name):
    """A method that has learned for two epochs, where it descends gradients."""
    wanted = {"epochs": 2, "context_tokens": 4, "lr": 0.02, "warmup_epochs": 0, "fine_tuned": True}
    known = {field.name for field in dataclasses.fields(get_method(name).Config)}
    method = make(world, name, **{key: value for key, value in wanted.items() if key in known})
    learn(world, method, FACTS, world.val)
    return method


@pytest.fixture(scope="module")
def clip(worlds):
    return worlds("clip")


@pytest.mark.parametrize("name", METHODS)
def test_onnxruntime_says_what_the_method_says(name, clip, tmp_path):
    method = taught(clip, name)
    graph = ClassifierGraph(method)
    write_graph(graph, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    assert [one.name for one in session.get_inputs()] == [view.name for view in graph.views]
    for one, view in zip(session.get_inputs(), graph.views, strict=True):
        assert one.type == "tensor(float)"
        assert isinstance(one.shape[0], str)  # any number of images
        assert tuple(one.shape[1:]) == view.shape
    found = compare(graph, session, (1, 4, 7))
    assert found.images == 12
    assert found.difference <= TOLERANCE
    text = clip.backbone.model.text_model.encoder.layers[-1].mlp.fc2.weight
    assert holds(tmp_path / "model.onnx", text) == method.prompts_per_image  # else its directions are constants


def holds(path, weight):
    """Whether a matrix is among the constants of a graph, as it is or turned."""
    import onnx

    wanted = weight.detach().numpy()
    found = [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    return any(np.array_equal(one, wanted) or np.array_equal(one, wanted.T) for one in found)


@pytest.mark.slow
def test_weights_that_one_file_cannot_hold_stand_beside_it(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("acclimate.exporting.onnx.LARGEST", 1000)
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    graph = ClassifierGraph(make(clip, "zero-shot"))
    write_graph(graph, folder / "model.onnx")
    assert {file.name for file in folder.iterdir()} == {"model.onnx", WEIGHTS}
    folder.rename(moved)
    assert compare(graph, open_session(moved / "model.onnx")).difference <= TOLERANCE


@pytest.mark.slow
def test_noise_that_is_drawn_anew_is_noticed(clip, tmp_path):
    graph = ClassifierGraph(make(clip, "spg", test_noise="fresh"))
    write_graph(graph, tmp_path / "model.onnx")
    with pytest.raises(RunError, match="the graph does not say what the run says: on random numbers"):
        compare(graph, open_session(tmp_path / "model.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zero-shot", "vpt", "cocoop"])
def test_siglip(name, worlds, tmp_path):
    graph = ClassifierGraph(taught(worlds("siglip"), name))
    write_graph(graph, tmp_path / "model.onnx")
    assert compare(graph, open_session(tmp_path / "model.onnx"), (1, 4, 7)).difference <= TOLERANCE


@pytest.mark.parametrize("name", ["auto", "gda", "coop", "fine-tune"])
def test_the_graph_says_in_torch_what_the_method_says_of_the_images(name, clip):
    """Tiles, features and pixels reach the method under the names, and in the order, that its own feed gives them."""
    method = make(clip, name).eval()
    graph = ClassifierGraph(method)
    views = []
    for view in graph.views:
        crops = [[image, *(tile for grid in view.grids for tile in cut(image, grid)[1:])] for image in images(clip)]
        pixels = torch.stack([torch.stack([view.encoder.transform(part) for part in parts]) for parts in crops])
        pixels = view.encoder.transform.normalise(pixels)
        views.append(pixels if view.grids else pixels[:, 0])
    with torch.no_grad():
        logits, probabilities = graph(*views)
        expected = method.logits(whole(clip.test))
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(probabilities, expected.softmax(-1), atol=1e-5, rtol=1e-4)


def images(world):
    return [world.data.test.image(row) for row in range(len(world.test))]


def test_what_answers_in_words_is_refused(worlds):
    with pytest.raises(ConfigError, match="instruct answers through a language model"):
        ClassifierGraph(make(worlds("llava"), "instruct", rank=1))


def test_several_labels_are_refused(clip):
    method = make(clip, "kernel-ridge")
    other = type(method)(clip.backbone, method.config, method.prompts, clip.domain_encoder)
    other.learn_labels(method.class_names)
    with pytest.raises(ConfigError, match="this kernel-ridge has learned several labels an image"):
        ClassifierGraph(other)


def test_a_method_without_classes_is_refused(clip):
    method = make(clip, "coop")
    bare = type(method)(clip.backbone, method.config, method.prompts, clip.domain_encoder)
    with pytest.raises(ConfigError, match="coop tells no classes apart in this run"):
        ClassifierGraph(bare)
