"""Several questions about each image: the prefix of an image kept for all of them, against every question by itself.

The plain way runs every conversation through the language model, image and all, in one batch, and writes the answers
from its keys and values. Ours runs what the conversations about an image share once, and the questions as branches
behind it. The vision tower has no part in either; both must write the same answers.

The language model is small, with a vocabulary of a real one; weights are random, so no answer ends early.

    python benchmarks/questions_per_image.py --out results/questions_per_image.json
    python benchmarks/questions_per_image.py --quick
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from acclimate.backbones import GenerativeVLM, load_vlm
from acclimate.backbones.generative.families.llava import LlavaFamily
from measuring import command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import class_words

WAYS = ("plain", "ours")
ANSWER = 5  # tokens of an answer
WIDTH, LAYERS = 256, 4


class Job(NamedTuple):
    """What is measured, and how often."""

    image_tokens: int
    images: int
    questions: int
    turns: int


JOBS = (
    Job(144, 6, 1, 3),
    Job(144, 6, 2, 3),
    Job(144, 6, 10, 3),
    Job(576, 3, 1, 3),
    Job(576, 3, 2, 3),
    Job(576, 3, 10, 3),
)


def build() -> GenerativeVLM:
    """A LLaVA with random weights and the tokenizer of mini-vlm, whose ids are the first of its vocabulary."""
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=32_000,
        hidden_size=WIDTH,
        intermediate_size=640,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=1024,
    )
    tower = CLIPVisionConfig(
        image_size=32, patch_size=16, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_index=3)
    chat = load_vlm("mini-vlm").tokenizer
    model = LlavaForConditionalGeneration(config).eval()
    return GenerativeVLM("random", LlavaFamily(model), chat.tokenizer, chat.template)


def asker(image_tokens: str, images: str, questions: str, way: str) -> Callable[[], Tensor]:
    """Return a function that asks all questions about all images, and returns a number for each answer."""
    backbone, count, each = build(), int(images), int(questions)
    seen = torch.randn(count, int(image_tokens), WIDTH, generator=torch.Generator().manual_seed(1)) * 0.02
    shown = [image for image in range(count) for _ in range(each)]
    words = [f"is there a {word} in it?" for word in class_words(count * each)]
    asked = [backbone.conversation(text, image_tokens=int(image_tokens)) for text in words]

    def ask() -> Tensor:
        if way == "ours":
            texts = backbone.generate(asked, seen, max_new_tokens=ANSWER, shown=shown)
        else:
            texts = backbone.generate(asked, seen[shown], max_new_tokens=ANSWER)
        return torch.tensor([zlib.crc32(text.encode()) for text in texts])

    return ask


def run(job: Job, quick: bool) -> dict[str, Any]:
    """Check and measure one number of questions."""
    tokens, images, questions = map(str, job[:3])
    calls = {way: asker(tokens, images, questions, way) for way in WAYS}
    seconds, results, _ = in_turns(calls, 1 if quick else job.turns, 0.0)
    asked = job.images * job.questions
    row: dict[str, Any] = {
        **job._asdict(),
        "cpu_seconds": seconds,
        "questions_per_second": {way: asked / taken for way, taken in seconds.items()},
        "tokens_per_second": {way: asked * ANSWER / taken for way, taken in seconds.items()},
        "different_answers": len(set(results["ours"][0].tolist())),
        "faster": seconds["plain"] / seconds["ours"],
    }
    row["peak_mib"] = {way: peak_in_fresh_process(__file__, *job[:3], way) for way in WAYS if not quick}
    if row["peak_mib"]:
        row["less_memory"] = row["peak_mib"]["plain"] / row["peak_mib"]["ours"]
    return row


def show(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cells = [f"{row['image_tokens']:>12} {row['images']:>6} {row['questions']:>9}"]
    for what, digits, width in (("cpu_seconds", 2, 15), ("tokens_per_second", 1, 15), ("peak_mib", 0, 13)):
        cells.append(f"{' / '.join(f'{value:.{digits}f}' for value in row[what].values()):>{width}}")
    less = f"{row['less_memory']:.1f}x" if "less_memory" in row else ""
    print(*cells, f"{row['faster']:>6.1f}x {less:>6}", flush=True)


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "144 image tokens and ten questions, one turn, no memory", asker)
    print(
        "plain / ours\nimage tokens images questions",
        f"{'CPU s':>15} {'tokens/s':>15} {'peak MiB':>13}  faster   less",
    )
    rows = []
    for job in [JOBS[2]] if options.quick else JOBS:
        rows.append(run(job, options.quick))
        show(rows[-1])
    if options.out:
        what = (
            f"medians of CPU seconds; a LLaVA with {LAYERS} layers of width {WIDTH} and a vocabulary of 32,000, fp32; "
            f"questions of 6 to 13 tokens about each image, answers of {ANSWER} tokens; plain: every conversation by "
            "itself, in one batch; ours: what those about an image share is run once; the same answers; peak: what "
            "one call adds to a fresh process"
        )
        write_record(options.out, options.command, what, rows)


if __name__ == "__main__":
    main()
