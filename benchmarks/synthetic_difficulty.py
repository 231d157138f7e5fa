"""How hard the synthetic domains are for a linear probe on a CLIP image tower, and how far they shift.

    python benchmarks/synthetic_difficulty.py MODEL_FOLDER [--domains satellite sar ...] [--out results.json]

The probe is multinomial logistic regression (C = 0.1) on standardised projected image features. Training images come
from collection seed 0, test images from seed 1, so that no solver run is in both. Shots are drawn evenly over the
acquisition domains, `repeats` times; figures are means and standard deviations over the draws. `shift` trains with the
same number of shots on all acquisitions but one and compares the accuracy on those with that on the one left out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from transformers import AutoProcessor, CLIPModel

from acclimate.synthetic import get_domain, list_domains, render


class Features:
    def __init__(self, folder: str) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, images: list) -> np.ndarray:
        found = []
        for start in range(0, len(images), 64):
            pixels = self.processor(images=images[start : start + 64], return_tensors="pt")["pixel_values"]
            pooled = self.model.vision_model(pixel_values=pixels).pooler_output
            found.append(self.model.visual_projection(pooled).numpy())
        return np.concatenate(found)


def probe(x: np.ndarray, y: np.ndarray, tests: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=0.1, max_iter=2000).fit(scaler.transform(x), y)
    return [100 * float((model.predict(scaler.transform(tx)) == ty).mean()) for tx, ty in tests]


def collect(features: Features, domain: str, seed: int, count: int, size: int) -> tuple[np.ndarray, float]:
    """Features (acquisition, class, image, E) and CPU milliseconds per image."""
    described = get_domain(domain)
    began, images = time.process_time(), []
    for acquisition in described.acquisitions:
        for class_name in described.classes:
            images += [render(domain, class_name, acquisition, i, seed=seed, size=size) for i in range(count)]
    cost = (time.process_time() - began) * 1000 / len(images)
    shape = (len(described.acquisitions), len(described.classes), count, -1)
    return features(images).reshape(shape), cost


def shots_of(
    rng: np.random.Generator, train: np.ndarray, acquisitions: list[int], shots: int
) -> tuple[np.ndarray, np.ndarray]:
    """`shots` images of each class, spread evenly over the acquisitions."""
    x, y = [], []
    for label in range(train.shape[1]):
        order = rng.permutation(acquisitions)
        picks = {a: rng.permutation(train.shape[2]) for a in acquisitions}
        for i in range(shots):
            a = order[i % len(order)]
            x.append(train[a, label, picks[a][i // len(order)]])
            y.append(label)
    return np.array(x), np.array(y)


def pooled(test: np.ndarray, acquisitions: list[int]) -> tuple[np.ndarray, np.ndarray]:
    part = test[acquisitions]
    labels = np.broadcast_to(np.arange(part.shape[1])[None, :, None], part.shape[:3])
    return part.reshape(-1, part.shape[-1]), labels.ravel()


def summary(values: list[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 1), "sd": round(float(np.std(values)), 1)}


def measure(features: Features, domain: str, repeats: int, size: int) -> dict:
    described = get_domain(domain)
    everything = list(range(len(described.acquisitions)))
    train, cost = collect(features, domain, 0, 16, size)
    test, _ = collect(features, domain, 1, 12, size)
    result: dict = {"ms_per_picture": round(cost, 1), "shots": {}, "single": {}, "shift": {}}
    for shots in (1, 4, 16):
        scores = []
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            scores += probe(*shots_of(rng, train, everything, shots), [pooled(test, everything)])
        result["shots"][shots] = summary(scores)
    for left_out in everything:
        name = described.acquisitions[left_out]
        kept = [a for a in everything if a != left_out]
        inside, outside = [], []
        alone: dict[int, list[float]] = {1: [], 16: []}
        for repeat in range(repeats):
            rng = np.random.default_rng(repeat)
            one, other = probe(*shots_of(rng, train, kept, 16), [pooled(test, kept), pooled(test, [left_out])])
            inside.append(one)
            outside.append(other)
            for shots in alone:
                alone[shots] += probe(*shots_of(rng, train, [left_out], shots), [pooled(test, [left_out])])
        result["shift"][name] = {"inside": summary(inside), "left_out": summary(outside)}
        result["single"][name] = {shots: summary(scores) for shots, scores in alone.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a CLIPModel with its processor")
    parser.add_argument("--domains", nargs="+", default=list(list_domains()))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    features, results = Features(options.model), {}
    for domain in options.domains:
        results[domain] = measure(features, domain, options.repeats, options.size)
        line = results[domain]
        shots = "  ".join(f"{k}-shot {v['mean']:.1f} ± {v['sd']:.1f}" for k, v in line["shots"].items())
        print(f"{domain}: {shots}  ({line['ms_per_picture']} ms an image)")
        for name, pair in line["shift"].items():
            single = "  ".join(f"{k}-shot {v['mean']:.1f}" for k, v in line["single"][name].items())
            print(
                f"    {name:24s} alone: {single}   16-shot on the others: {pair['inside']['mean']:.1f} there, "
                f"{pair['left_out']['mean']:.1f} here"
            )
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
