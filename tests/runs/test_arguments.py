"""Arguments of wrong types: one line that names the argument, before anything is read or computed."""

from __future__ import annotations

import numpy as np
import pytest

import acclimate
from acclimate.data import load_data
from acclimate.errors import AcclimateError, ConfigError
from acclimate.runs import RunOptions, rank_backbones, suggest
from tests.helpers.pictures import make_pictures
from tests.helpers.runs import quick

THINGS = (3, 2.5, True, b"x", ["x"], {"x": 1}, object(), "", " ")  # each is wrong for most arguments
TEXT = (3, 2.5, True, b"x", ["x"], {"x": 1}, object(), "", " ", "nonsense")
PATH = (3, 2.5, True, b"x", ["x"], object(), "", " ")
WHOLE = (2.5, b"x", ["x"], {"x": 1}, object(), "", "3", True, None, float("nan"))
COUNT = (*WHOLE, 0, -1)
SHARE = ("x", "0.5", b"x", [0.5], True, 1, -0.1, float("nan"), float("inf"), object())
WITHIN = {"hierarchy": PATH, "floor": (None, *SHARE, 0)}
BANDS = (3, 2.5, True, b"4,3,2", ["x"], {"x": 1}, object(), "", " ", "4,3", (0, 1, 2), (1.5,), "4;3;2")
SURE = {"coverage": (*SHARE, 0), "known": (None, *SHARE), **WITHIN}
STREAM = {"batch_size": COUNT, "precision": (None, *TEXT), **SURE}
MAPPING = (3, "x", b"x", ["x"], object(), {3: "x"}, {"": "x"})

WRONG = {
    "load_data": {
        "source": (None, *THINGS, {"x": [1]}, np.zeros(3), RunOptions),
        "layout": (None, *TEXT),
        "images_root": PATH,
        "split_seed": WHOLE,
        "split_rule": (None, *TEXT),
        "split_from": PATH,
        "val_fraction": (None, "0.2", 1.0, -0.1, float("nan"), ["x"]),
        "on_corrupt": (None, *TEXT),
        "bands": BANDS,
    },
    "load_captions": {
        "source": (None, *THINGS, np.zeros(3)),
        "images_root": PATH,
        "split_seed": WHOLE,
        "split_rule": (None, *TEXT),
        "split_from": PATH,
        "on_corrupt": (None, *TEXT),
    },
    "adapt": {
        "data": (None, *THINGS),
        "method": (None, *TEXT),
        "backbone": (*PATH, "nonsense"),
        "shots": (2.5, b"x", ["x"], {"x": 1}, object(), "", True, None, float("nan"), 0, -1, "0", "budget:0", "some"),
        "seed": WHOLE,
        "domain": TEXT,
        "templates": (3, 2.5, True, b"x", ["x"], {"x": 1}, object(), "", " ", "x", [3], ["{} {}"]),
        "names": (*MAPPING, {"cat": 3}, {"cat": ""}),
        "settings": (*MAPPING, {"lr": ["x"]}, {"lr": None}, {"epochs": 0.5}),
        "out": PATH,
        "device": (None, *TEXT),
        "precision": (None, *TEXT),
        "cache_dir": PATH,
        "progress": (3, "x", object()),
        "checkpoint_seconds": (None, -1, "5", True, float("nan"), ["x"]),
        "domain_encoder": PATH,
        "scorer": PATH,
        "start": PATH,
        "track": TEXT,
        "look_at": (None, 3, "cat/000.png", b"x", ["x"], [3], {"x": 1}),
    },
    "load": {
        "run": (None, *THINGS),
        "backbone": (*PATH, "nonsense"),
        "device": (None, *TEXT),
        "cache_dir": PATH,
        "domain_encoder": PATH,
        "classes_of": TEXT,
        "bands": BANDS,
    },
    "evaluate": {
        "data": (None, *THINGS),
        "scorer": PATH,
        "resamples": COUNT,
        "progress": (3, "x", object()),
        "split": (None, *TEXT),
        "split_seed": WHOLE,
        **WITHIN,
    },
    "predict": {"images": (None, 3, 2.5, True, {"x": 1}, object(), "", [3], [None]), **STREAM},
    "stream": {"on_corrupt": (None, *TEXT), **STREAM},
    "suggest": {"model": (None, *THINGS), "count": COUNT, "batch_size": COUNT, "progress": (3, "x", object())},
    "rank_backbones": {
        "data": (None, *THINGS),
        "backbones": (3, 2.5, b"x", [3], [b"x"], [""], ["nonsense"], "nonsense"),
        "shots": (2.5, b"x", ["x"], {"x": 1}, object(), "", True, None, float("nan"), 0, -1, "0", "budget:0", "some"),
        "seed": WHOLE,
        "device": (None, *TEXT),
        "cache_dir": PATH,
        "progress": (3, "x", object()),
    },
    "rebind": {"class_names": (None, 3, "cat", b"x", [], ["x", "x"], [3], [""], {"x": 1}, object())},
    "save": {"out": (None, *PATH)},
}
CASES = [(function, argument) for function, found in WRONG.items() for argument in found]


@pytest.fixture(scope="module")
def calls(run, tmp_path_factory, caption_folder, tiny, tiny_folders):
    """Every public function with arguments that are right."""
    place = make_pictures(tmp_path_factory.mktemp("arguments") / "data", per_class=2)
    model, data = run.model, load_data(place)
    return {
        "load_data": (acclimate.load_data, {"source": place}),
        "load_captions": (acclimate.load_captions, {"source": caption_folder}),
        "adapt": (quick, {"data": data, "backbone": tiny}),
        "load": (acclimate.load, {"run": run.folder, "backbone": tiny}),
        "evaluate": (model.evaluate, {"data": place, "resamples": 2}),
        "predict": (model.predict, {"images": place}),
        "stream": (model.stream, {"images": place}),
        "suggest": (suggest, {"model": model, "images": place}),
        "rank_backbones": (rank_backbones, {"data": data, "backbones": [tiny_folders["clip"]], "only": True}),
        "rebind": (model.rebind, {"class_names": model.class_names}),
        "save": (model.save, {"out": tmp_path_factory.mktemp("saved")}),
    }


@pytest.mark.parametrize(("function", "argument"), CASES)
def test_arguments_of_wrong_types(calls, function, argument, caplog, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    call, right = calls[function]
    for value in WRONG[function][argument]:
        with pytest.raises(AcclimateError) as caught:
            call(**right | {argument: value})
        message = str(caught.value)
        assert message
        assert "\n" not in message
        assert len(message) < 500
        assert "object at 0x" not in message
    assert not list(tmp_path.iterdir())


def test_every_argument_is_tried_unless_it_takes_anything(calls):
    """Truth values are taken as Python takes them."""
    import inspect

    anything = {"overwrite", "allow_one_class", "test_fraction", "reference_prompts", "options", "self", "swap", "only"}
    anything |= {"multi_label", "adapt_to_folder"}
    for name in (*WRONG,):
        call = {"adapt": acclimate.adapt}.get(name, calls[name][0])
        tried = set(WRONG[name]) | anything | {"images", "on_corrupt"}
        assert set(inspect.signature(call).parameters) <= tried, name


def test_numbers_of_numpy(run, pictures, tiny, tmp_path):
    model = quick(pictures, tiny, method="linear-probe", settings={}, shots=np.int64(2), seed=np.int32(1))
    assert (model.record["shots"], model.record["seed"]) == (2, 1)
    model.save(tmp_path / "run")  # all of it is plain JSON
    assert run.model.evaluate(pictures.test, np.int64(10))["samples"] == len(pictures.test)


def test_nothing_to_learn_from(pictures, tiny):
    with pytest.raises(AcclimateError, match=r"^animals: "):
        quick(pictures.select([]), tiny)
    with pytest.raises(AcclimateError, match=r"^animals: "):
        quick(pictures.test, tiny)


def test_reference_prompts_of_wrong_types(pictures, tiny):
    for value in (3, b"x", "", ["x"], {"cat": 3}, {"cat": []}):
        with pytest.raises(AcclimateError) as caught:
            quick(pictures, tiny, method="cupl", settings={}, reference_prompts=value)
        assert "\n" not in str(caught.value)


def test_options_of_a_run():
    with pytest.raises(ConfigError, match="`checkpoint_seconds` is -1; give a number of at least 0"):
        RunOptions(checkpoint_seconds=-1)
    with pytest.raises(ConfigError, match="`cache_dir` is 3; give a path as text"):
        RunOptions(cache_dir=3)
