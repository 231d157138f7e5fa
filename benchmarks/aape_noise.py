"""Does AAPE's aggregator suppress sentences that have nothing to do with the class? Measured on validation images.

Learns from 16 images a class twice: from the reference prompts of the data, and from the same with as many sentences
about other things among them, drawn from the prompts of another data set. Prints, for several aggregators,
balanced accuracy (%) with both, and how much attention goes to the foreign sentences, in units of an equal share:
1 where they count as much as the others. Mean and standard deviation over seeds. Test images are never opened.

    python benchmarks/aape_noise.py DATA/lithology --domain thin_section --prompts recipes/prompts/lithology.yaml \\
        --foreign recipes/prompts/aid.yaml
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import acclimate
from acclimate.backbones import load_backbone
from acclimate.data.cache import default_cache_dir
from acclimate.methods import Method
from acclimate.methods.aape import AAPE
from acclimate.options import make_config, parse_assignments
from acclimate.prompts import PromptSet, ReferencePrompts, get_domain
from acclimate.prompts.references import read_reference_prompts
from acclimate.protocols import FewShotValidation
from acclimate.runs import RunOptions
from acclimate.runs.adaptation import Adaptation
from acclimate.runs.experiment import Experiment
from acclimate.runs.orchestrator import carry_out
from acclimate.runs.parts import RunPart
from acclimate.runs.run_files import RunFiles
from acclimate.tasks import task_of

AGGREGATORS = ("attention", "convex", "mean", "random")


def foreign(path: Path, wanted: ReferencePrompts, seed: int) -> dict[str, tuple[str, ...]]:
    """Return as many sentences about other things for each class as it has of its own."""
    known = sorted({sentence for some in yaml.safe_load(path.read_text()).values() for sentence in some})
    drawn = np.random.default_rng(seed)
    return {
        name: tuple(known[place] for place in drawn.choice(len(known), len(some), replace=len(some) > len(known)))
        for name, some in wanted.sentences.items()
    }


class Watch(RunPart):
    """Keeps what the training images attend to (N, n), before the aggregator is dropped; none where it has none."""

    attention: torch.Tensor | None = None

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> dict[str, Any]:
        assert isinstance(method, AAPE)
        found = method.attribution(experiment.feed(method, "train", method.inputs.all))
        assert found is not None
        self.attention = found.attention
        return {}


def main() -> None:
    """Learn twice, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--domain", required=True, help="domain of the templates")
    parser.add_argument("--prompts", type=Path, required=True, help="reference prompts of the data")
    parser.add_argument("--foreign", type=Path, required=True, help="reference prompts of another data set, in YAML")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of aape")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, backbone = acclimate.load_data(options.data, split_rule="greedy"), load_backbone(options.backbone)
    own = read_reference_prompts(options.prompts, data.class_names)
    conditions = RunOptions(cache_dir=default_cache_dir() / "features")
    prompts, settings = PromptSet(get_domain(options.domain)), parse_assignments(options.set)
    print(f"{'aggregator':<12} {'own':>12} {'with foreign':>14} {'attention to foreign':>22}")
    for aggregator in AGGREGATORS:
        rows = []
        for seed in options.seeds:
            trial = FewShotValidation().draw(data.name, {data.name: data}, options.shots, seed)
            others = foreign(options.foreign, own, seed)
            mixed = {name: (*some, *others[name]) for name, some in own.sentences.items()}
            found = []
            for told in (own, ReferencePrompts(mixed, "mixed")):
                watch, config = Watch(), make_config(AAPE.Config, {**settings, "aggregator": aggregator})
                experiment = Experiment(
                    task=task_of(trial.train), trial=trial, method=AAPE, config=config, backbone=backbone,
                    prompts=prompts, shots=options.shots, seed=seed, options=conditions, reference_prompts=told,
                )  # fmt: skip
                model = carry_out(Adaptation(experiment, [watch]))
                found.append(100 * model.record["metrics"]["balanced_accuracy"]["value"])
            attention, share = watch.attention, float("nan")
            if attention is not None:
                counts = torch.tensor([len(own.sentences[name]) for name in trial.train.class_names])
                half = counts[torch.from_numpy(trial.train.labels)][:, None]
                place = torch.arange(attention.shape[1])[None]
                to_foreign = (attention * ((place >= half) & (place < 2 * half))).sum(dim=1)
                share = float((2 * to_foreign / attention.sum(dim=1)).mean())
            rows.append([*found, share])
        means, spread = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.zeros(3)
        cells = [f"{mean:.1f} ± {sd:.1f}" for mean, sd in zip(means[:2], spread[:2], strict=True)]
        shares = "-" if np.isnan(means[2]) else f"{means[2]:.2f} ± {spread[2]:.2f}"
        print(f"{aggregator:<12} {cells[0]:>12} {cells[1]:>14} {shares:>22}", flush=True)


if __name__ == "__main__":
    main()
