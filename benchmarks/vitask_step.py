"""A training step of VITask, and the scoring of a label set: this package against the plain way, interleaved.

The plain way of a step is three whole forward passes of transformers (without exemplar, with it, with another image),
each of them through the vision tower, with logits of the whole vocabulary at every position in float32. Ours takes
image tokens that were computed once, runs the two branches without exemplar together, and asks the head at the
positions of the response alone. The plain way of scoring is a whole forward pass for every label; ours scores all
labels from one pass over image and instruction. Both have the same weights and adapter, and must give the same losses
and scores.

The language models are small, with vocabularies of real ones; weights are random.

    python benchmarks/vitask_step.py --out results/vitask_step.json
    python benchmarks/vitask_step.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from acclimate.backbones import Conversation, GenerativeVLM, load_vlm
from acclimate.backbones.generative.conversation import EXEMPLAR
from acclimate.backbones.generative.families.llava import LlavaFamily
from acclimate.methods.vitask import VITask
from acclimate.methods.vitask.config import VITaskConfig
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from measuring import command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import class_words

WAYS = ("plain", "ours")
WIDTH, FEATURE = 256, 768  # of the language model, and of the task-specific model
TOLERANCE = 1e-4  # of losses and scores, relative
SIZES: dict[str, dict[str, Any]] = {
    "96 px": {"image_size": 96, "patch_size": 16, "hidden_size": 256, "intermediate_size": 1024, "layers": 6},
    "224 px": {"image_size": 224, "patch_size": 16, "hidden_size": 768, "intermediate_size": 3072, "layers": 12},
}


class Job(NamedTuple):
    """What is measured, and how often."""

    what: Literal["step", "scoring"]
    vision: str
    vocabulary: int
    images: int
    classes: int
    turns: int


JOBS = (
    Job("step", "96 px", 6144, 16, 10, 5),
    Job("step", "96 px", 32_000, 16, 10, 5),
    Job("step", "96 px", 151_936, 8, 10, 3),
    Job("step", "224 px", 32_000, 8, 10, 3),
    Job("scoring", "96 px", 32_000, 16, 30, 3),
    Job("scoring", "224 px", 32_000, 8, 30, 3),
)


def build(vision: str, vocabulary: int) -> GenerativeVLM:
    """A LLaVA with random weights and the tokenizer of mini-vlm, whose ids are the first of its vocabulary."""
    torch.manual_seed(0)
    mini, size = load_vlm("mini-vlm"), dict(SIZES[vision])
    layers = size.pop("layers")
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=640,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=1024,
    )
    tower = CLIPVisionConfig(num_hidden_layers=layers, num_attention_heads=4, **size)
    config = LlavaConfig(
        vision_config=tower, text_config=text, image_token_index=3, vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    chat = mini.tokenizer
    return GenerativeVLM("random", LlavaFamily(model), chat.tokenizer, chat.template)


class Case:
    """One size, vocabulary, batch and number of classes."""

    def __init__(self, vision: str, vocabulary: int, images: int, classes: int) -> None:
        self.backbone = build(vision, vocabulary)
        side = self.backbone.image_size
        self.pixels, self.others = torch.randn(images, 3, side, side), torch.randn(images, 3, side, side)
        self.features = torch.randn(images, FEATURE)
        self.labels = torch.arange(images) % classes
        self.words = class_words(classes)
        tokens = [
            self.backbone.encode(pixels, {"image_tokens"})["image_tokens"] for pixels in (self.pixels, self.others)
        ]
        self.batch = Batch(
            labels=self.labels,
            domain_features=self.features,
            image_tokens=tokens[0],
            negative_tokens=tokens[1],
            negative_mask=torch.ones(images, dtype=torch.bool),
        )

    def make(self) -> VITask:
        """VITask with an adapter that changes something, equal at every call."""
        torch.manual_seed(1)
        prompts = PromptSet("natural", overrides={word: word for word in self.words})
        encoder: Any = type("Encoder", (), {"width": FEATURE})()
        method = VITask(self.backbone, VITaskConfig(dropout=0.0), prompts, encoder)
        method.bind(self.words)
        for name, weight in method.adapter.named_parameters():
            if name.endswith(".b"):
                torch.nn.init.normal_(weight, std=0.02)
        return method

    def trainer(self, way: str) -> Callable[[], float]:
        """Return a function that makes one step of SGD on a method of its own and returns the loss."""
        own = self.make()
        own.train()
        optimizer = torch.optim.SGD(own.parameters(), lr=1e-3)

        def step() -> float:
            terms = own.loss(self.batch, contrasted=True) if way == "ours" else self.plain_loss(own)
            loss = torch.stack([*terms.values()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def plain_loss(self, method: VITask) -> dict[str, Tensor]:
        """The terms of stage 2 from three whole forward passes."""
        config = method.config
        with method.tuned():
            z, labels = self.whole(method, self.pixels)
            other, _ = self.whole(method, self.others)
            assert method.connector is not None
            e, shown = self.whole(method, self.pixels, method.connector(self.features)[:, None])
        z, other, e = _of_response(z, labels), _of_response(other, labels), _of_response(e, shown)
        targets = labels[labels != -100]
        counts = (labels != -100).sum(1)
        weights = (1.0 / counts).repeat_interleave(counts) / len(counts)
        p, q = z.log_softmax(-1), e.detach().log_softmax(-1)
        return {
            "vanilla": (F.cross_entropy(z, targets, reduction="none") * weights).sum(),
            "exemplar": (F.cross_entropy(e, targets, reduction="none") * weights).sum(),
            "alignment": config.rda * ((p.exp() * (p - q)).sum(-1) * weights).sum(),
            "contrast": config.crt * (F.cross_entropy(z - other, targets, reduction="none") * weights).sum(),
        }

    def whole(self, method: VITask, pixels: Tensor, exemplars: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (B, L, V) in float32 of one forward pass of transformers, and labels (B, L), -100 at the prompt."""
        count = 0 if exemplars is None else 1
        told = [method.conversation(label, exemplars=count) for label in self.labels.tolist()]
        return plain_forward(self.backbone, told, pixels, exemplars)

    def scorer(self, way: str) -> Callable[[], Tensor]:
        """Return a function that scores all labels for every image."""
        method = self.make()
        method.eval()

        @torch.no_grad()
        def score() -> Tensor:
            if way == "ours":
                return method.logits(self.batch)
            assert method.connector is not None
            exemplars, columns = method.connector(self.features)[:, None], []
            for label in range(len(self.words)):
                told = [method.conversation(label, exemplars=1)] * len(self.labels)
                told = [_asked(method, one) for one in told]
                with method.tuned():
                    z, labels = plain_forward(self.backbone, told, self.pixels, exemplars)
                scores = _of_response(z, labels).log_softmax(-1).gather(1, labels[labels != -100][:, None])
                columns.append(scores.view(len(self.labels), -1).sum(1))
            return torch.stack(columns, dim=1)

        return score


def _asked(method: VITask, conversation: Conversation) -> Conversation:
    """The conversation as it is: instruction and answer are those of prediction, with the list of the labels."""
    assert method.asked(training=True) == method.asked(training=False)
    return conversation


def _of_response(logits: Tensor, labels: Tensor) -> Tensor:
    return logits[:, :-1][labels[:, 1:] != -100]


def plain_forward(
    backbone: GenerativeVLM, told: list[Conversation], pixels: Tensor, exemplars: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Right-padded conversations through the model as transformers has it, with exemplars by an embedding hook."""
    length = max(len(one.ids) for one in told)
    ids, mask = torch.zeros(len(told), length, dtype=torch.long), torch.zeros(len(told), length, dtype=torch.long)
    labels = torch.full((len(told), length), -100)
    for row, one in enumerate(told):
        ids[row, : len(one.ids)], mask[row, : len(one.ids)] = one.ids, 1
        labels[row, : len(one.ids)] = one.ids.masked_fill(~one.response, -100)
    model: Any = backbone.model
    place = ids == EXEMPLAR

    def put(module: Any, inputs: Any, out: Tensor) -> Tensor:
        return out if exemplars is None else out.masked_scatter(place[..., None], exemplars)

    handle = model.get_input_embeddings().register_forward_hook(put)
    try:
        found = model(input_ids=ids.masked_fill(place, 0), attention_mask=mask, pixel_values=pixels)
    finally:
        handle.remove()
    return found.logits.float(), labels


def call_of(what: str, vision: str, vocabulary: str, images: str, classes: str, way: str) -> Callable[[], Any]:
    """Return a step or a scoring of a case of its own."""
    case = Case(vision, int(vocabulary), int(images), int(classes))
    return case.trainer(way) if what == "step" else case.scorer(way)


def run(job: Job, quick: bool) -> dict[str, Any]:
    """Check and measure a step or a scoring of one case."""
    case = Case(*job[1:5])
    calls: dict[str, Callable[[], Any]] = {
        way: case.trainer(way) if job.what == "step" else case.scorer(way) for way in WAYS
    }
    seconds, results, worst = in_turns(calls, 1 if quick else job.turns, TOLERANCE)
    row: dict[str, Any] = {**job._asdict()}
    if job.what == "step":
        row["losses"] = results
    row |= {"difference": worst, "cpu_seconds": seconds, "faster": seconds["plain"] / seconds["ours"]}
    row["peak_mib"] = {way: peak_in_fresh_process(__file__, *job[:5], way) for way in WAYS if not quick}
    if row["peak_mib"]:
        row["less_memory"] = row["peak_mib"]["plain"] / row["peak_mib"]["ours"]
    return row


def show(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cells = [f"{row['what']:>8} {row['vision']:>7} {row['vocabulary']:>10} {row['images']:>6} {row['classes']:>7}"]
    for what, digits, width in (("cpu_seconds", 2, 15), ("peak_mib", 0, 13)):
        cells.append(f"{' / '.join(f'{value:.{digits}f}' for value in row[what].values()):>{width}}")
    less = f"{row['less_memory']:.1f}x" if "less_memory" in row else ""
    print(*cells, f"{row['faster']:>6.1f}x {less:>6}", flush=True)


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "the smallest step and scoring, one turn, no memory", call_of)
    jobs = [JOBS[0], JOBS[4]] if options.quick else JOBS
    print(
        "plain / ours\n    what  vision vocabulary images classes",
        f"{'CPU s':>15} {'peak MiB':>13}  faster   less",
    )
    rows = []
    for job in jobs:
        rows.append(run(job, options.quick))
        show(rows[-1])
    if options.out:
        what = (
            "medians of CPU seconds; a LLaVA with 4 layers of width 256, rank-16 changes, fp32; plain: three whole "
            "forward passes with logits everywhere, or one for every label; ours: image tokens computed once, logits "
            "of the response alone, labels from a cached prefix; peak: what one call adds to a fresh process; "
            "difference: of losses or scores, relative"
        )
        write_record(options.out, options.command, what, rows)


if __name__ == "__main__":
    main()
