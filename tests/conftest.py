"""Shared by all tests; beside tests/__init__.py, it puts the repository root on sys.path for `tests.helpers`.

Heavy modules are imported by the fixtures that need them: pytest reads this file before it starts its processes.
"""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """Keep the user's feature cache out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCLIMATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def one_thread():
    """The number of threads may decide the order of a sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    """Folders of tiny dual encoders with random weights, by family."""
    from tests.helpers.tiny_backbones import tiny_clip, tiny_siglip, tiny_vit_bert

    return {
        "clip": tiny_clip(tmp_path_factory.mktemp("tiny") / "clip"),
        "siglip": tiny_siglip(tmp_path_factory.mktemp("tiny") / "siglip", context_length=24),
        "vit-bert-clip": tiny_vit_bert(tmp_path_factory.mktemp("tiny") / "vit-bert", context_length=24),
    }


@pytest.fixture(scope="session")
def tiny_backbones(tiny_folders):
    """The same, loaded."""
    from acclimate.backbones import load_backbone

    return {family: load_backbone(folder) for family, folder in tiny_folders.items()}


@pytest.fixture(scope="session")
def tiny(tiny_backbones):
    """The tiny CLIP."""
    return tiny_backbones["clip"]


@pytest.fixture(scope="session")
def domain_folder(tmp_path_factory):
    """Folder of a tiny domain encoder with random weights, which sees 48 x 48 pixels."""
    from tests.helpers.tiny_mae import tiny_mae

    return tiny_mae(tmp_path_factory.mktemp("tiny") / "mae")


@pytest.fixture(scope="session")
def domain_encoder(domain_folder):
    """The same, loaded."""
    from acclimate.backbones import load_domain_encoder

    return load_domain_encoder(domain_folder)


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory):
    """Pictures of three classes in train, val and test."""
    from tests.helpers.pictures import make_split_pictures

    return make_split_pictures(tmp_path_factory.mktemp("pictures") / "animals")


@pytest.fixture(scope="session")
def caption_folder(tmp_path_factory):
    """Pictures with three captions each, in train and test."""
    from tests.helpers.pictures import make_captioned_pictures

    return make_captioned_pictures(tmp_path_factory.mktemp("captions") / "scenes")


@pytest.fixture(scope="session")
def pictures(picture_folder):
    """The same, loaded."""
    from acclimate.data import load_data

    return load_data(picture_folder)
