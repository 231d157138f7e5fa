"""A bench whose captions a dual encoder judges."""

from __future__ import annotations

import pytest
import yaml

from acclimate.bench import plan_bench, read_spec
from acclimate.errors import ConfigError
from tests.helpers.command import acclimate
from tests.helpers.pictures import make_pictures
from tests.helpers.tiny_vlms import tiny_llava


@pytest.fixture(scope="module")
def content(tmp_path_factory, caption_folder):
    """A spec of captions that are found by mini-clip and written by a tiny model."""
    vlm = tiny_llava(tmp_path_factory.mktemp("vlm") / "llava")
    return {
        "backbones": ["mini-clip", str(vlm)],
        "data": {"scenes": str(caption_folder)},
        "methods": ["zero-shot", "vlm-zero-shot"],
        "suites": [{"protocol": "few-shot", "data": "scenes", "shots": "all", "seeds": 1}],
    }


def read(content, place, **changes):
    place.write_text(yaml.safe_dump({**content, **changes}))
    return read_spec(place)


def test_it_belongs_to_jobs_that_write(content, tmp_path):
    plainly = plan_bench(read(content, tmp_path / "spec.yaml", metric="cider_d"), "cpu")
    judged = plan_bench(read(content, tmp_path / "spec.yaml", metric="clip_score", scorer="mini-clip"), "cpu")
    assert [job.scorer for job in judged] == [None, "mini-clip"]
    assert judged[0].content == plainly[0].content
    assert judged[1].content.keys() - plainly[1].content.keys() == {"scorer"}
    assert judged[1].content["scorer"] == judged[0].content["backbone"]


def test_what_cannot_be(content, tmp_path, tiny_folders):
    with pytest.raises(ConfigError, match="metric: clip_score is given by a dual encoder; name one as `scorer`"):
        read(content, tmp_path / "spec.yaml", metric="clip_score")
    made = make_pictures(tmp_path / "made", per_class=5)
    spec = read(content, tmp_path / "spec.yaml", data={"scenes": str(made)}, scorer="mini-clip")
    with pytest.raises(ConfigError, match="scorer: it judges captions that are written, and no suite writes any"):
        plan_bench(spec, "cpu")


@pytest.mark.slow
def test_its_figures_stand_in_the_results(content, tmp_path):
    spec = tmp_path / "spec.yaml"
    read(content, spec, metric="clip_score", scorer="mini-clip")
    done = acclimate("bench", spec, "--out", tmp_path / "out", "--device", "cpu")
    assert done.code == 0, done.err
    table = (tmp_path / "out" / "results.csv").read_text()
    assert "clip_score" in table
    assert "ref_clip_score" in table
