"""`AdaptedModel`: an adapted backbone that evaluates, predicts, saves and loads."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import acclimate
from acclimate.data import ImageData
from acclimate.data.frozen import freeze_splits
from acclimate.errors import ConfigError, RunError
from acclimate.files import read_json, write_json
from acclimate.methods import Classifier, get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.runs import folder
from acclimate.runs.encoders import SavedEncoder, describe_domain_encoder, open_backbone, reopen_domain_encoder
from acclimate.runs.prediction import ImageSource, stream_predictions
from acclimate.tasks import get_task, task_of
from acclimate.training.checkpoint import read_tensors, save_tensors
from acclimate.training.devices import resolve_device
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.methods import Method

FORMAT = 1  # of adapter.json

logger = logging.getLogger("acclimate.runs")


class AdaptedModel:
    """A method with its learned tensors on a frozen backbone.

    Made by `acclimate.adapt` and `acclimate.load`.

    Attributes:
        method: the method, bound to its classes.
        record: what `record.json` holds: metrics, baselines, cost, versions, seed and fingerprints.
        splits: the images of the train, val and test splits, where the model was adapted in this process.
        journal: the entries of `log.jsonl`.
        cache_dir: feature cache used by `evaluate`; none computes everything.
        whole: the data that the splits were drawn from, where the model was adapted in this process.
        task: what it has learned.
    """

    def __init__(
        self,
        method: Method,
        record: dict[str, Any],
        splits: dict[str, ImageData] | None = None,
        journal: Sequence[dict[str, Any]] = (),
        cache_dir: Path | None = None,
        whole: ImageData | None = None,
    ) -> None:
        self.method, self.record, self.splits, self.whole = method, record, splits, whole
        self.journal, self.cache_dir = list(journal), cache_dir
        self.task = get_task(record.get("task", ImageData.task))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities; none where it tells none apart."""
        return self.method.class_names if isinstance(self.method, Classifier) else ()

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """The classes of the training data, which stay the same when others are bound."""
        return self.method.trained_classes if isinstance(self.method, Classifier) else ()

    @property
    def backbone(self) -> DualEncoder:
        """The frozen backbone."""
        return self.method.backbone

    def rebind(self, class_names: Sequence[str]) -> AdaptedModel:
        """Serve other classes with the same learned tensors, where the method can.

        Raises:
            ConfigError: when the method has weights for its own classes only, or tells no classes apart.
        """
        if not isinstance(self.method, Classifier):
            raise ConfigError(f"{self.method.name} tells no classes apart")
        self.method.bind(class_names)
        self.task = get_task(ImageData.task)
        return self

    def evaluate(self, data: ImageData, resamples: int = 1000, progress: Progress | None = None) -> dict[str, Any]:
        """Return metrics on labelled images or on images with captions, with 95 % bootstrap intervals over groups.

        Args:
            data: images whose classes the model knows, or images with captions.
            resamples: bootstrap resamples.
            progress: told of every batch.

        Raises:
            DataError: when there is no image, or a class that the model does not know.
            ConfigError: the method cannot compare images with captions.
        """
        method, task = self.method, task_of(data)
        task.check(type(method), data.name)
        given = Given(
            self.backbone,
            method.domain_encoder,
            config=method.config,
            cache_dir=self.cache_dir,
            progress=progress or Silent(),
        )
        feed = evaluation_feed(method.inputs.prediction, data, given, method.reading)
        return task.evaluate(method, feed, data, given, resamples)

    def predict(self, images: Iterable[ImageSource] | ImageSource, batch_size: int = 32) -> list[Any]:
        """Return a prediction for each image, as the task has it: of classes, `acclimate.tasks.Prediction`.

        Args:
            images: files, folders, glob patterns or Pillow images; one of them or several.
            batch_size: images a pass.

        Raises:
            DataError: when an image cannot be read; `stream` can skip such images.
        """
        return list(self.stream(images, batch_size))

    def stream(
        self, images: Iterable[ImageSource] | ImageSource, batch_size: int = 32, on_corrupt: str = "error"
    ) -> Iterator[Any]:
        """Yield a prediction for each image without holding more than two batches; see `stream_predictions`."""
        self.task.check_predicts(self.method)
        if isinstance(images, str | os.PathLike) or not isinstance(images, Iterable):
            images = [images]
        return stream_predictions(self.task, self.method, images, batch_size, on_corrupt)

    def describe(self) -> dict[str, Any]:
        """Return what `adapter.json` holds."""
        method, backbone = self.method, self.backbone
        return {
            "format": FORMAT,
            "acclimate": acclimate.__version__,
            "method": method.name,
            "config": dict(vars(method.config)),
            "backbone": {"id": backbone.name, "family": backbone.family, "fingerprint": backbone.fingerprint},
            "domain_encoder": describe_domain_encoder(method.domain_encoder),
            "class_names": list(self.class_names),
            "trained_classes": list(self.trained_classes),
            "prompts": method.prompts.to_dict(),
            "transform": backbone.transform.to_dict(),
            "learned_parameters": method.learned_parameters(),
        }

    def save(self, out: str | os.PathLike[str]) -> Path:
        """Write the run folder; `record.json` comes last and marks it complete.

        Raises:
            RunError: when the folder holds other things or cannot be written.
        """
        path = folder.open_folder(Path(out))
        save_tensors(self.method.learned_state(), path / folder.ADAPTER, {"method": self.method.name})
        write_json(path / folder.ADAPTER_INFO, self.describe())
        if self.splits is not None:
            told = {"seed": self.record["seed"], "shots": self.record["shots"]}
            freeze_splits(self.splits, path / folder.SPLITS, **told, digests=True, whole=self.whole)
        folder.write_lines(path / folder.LOG, self.journal)
        write_json(path / folder.RECORD, self.record)
        return path


def reopen(
    path: Path,
    identity: str,
    backbone: DualEncoder,
    domain_encoder: DomainEncoder | None,
    cache_dir: Path | None,
    remark: str = "",
) -> AdaptedModel:
    """Load the finished run of a folder, if it is the one that is asked for; `remark` may explain why it is not.

    Raises:
        RunError: it is another one.
    """
    model = load(path, backbone, cache_dir=cache_dir, domain_encoder=domain_encoder)
    if model.record.get("identity") != identity:
        raise RunError(
            f"{path} holds a finished run of other data or settings; choose another `out`, or use `overwrite=True`"
            f"{remark}"
        )
    logger.info("%s holds this very run, finished; nothing to do (`overwrite=True` repeats it)", path)
    return model


def load(
    run: str | os.PathLike[str],
    backbone: str | os.PathLike[str] | DualEncoder | None = None,
    device: str = "auto",
    cache_dir: Path | None = None,
    domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
) -> AdaptedModel:
    """Load an adapted model from its run folder.

    Args:
        run: folder written by `acclimate adapt` or `AdaptedModel.save`.
        backbone: where the backbone is, if not under the id that the adapter names.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: feature cache used by `evaluate`.
        domain_encoder: where the domain encoder is, if the adapter has one, and not under the id that it names.

    Raises:
        RunError: when files are missing or damaged, when the backbone or the domain encoder is not that of the adapter,
            or when the domain encoder cannot be loaded.
        BackboneError: when the backbone cannot be loaded.
    """
    path = Path(run)
    if not path.is_dir():
        raise RunError(f"{path}: there is no such run folder; give the folder named by `out` of `acclimate adapt`")
    next_step = "give a folder written by `acclimate adapt`" + (
        "; this run is not finished, start its command again" if (path / folder.CHECKPOINT).exists() else ""
    )
    info = read_json(path / folder.ADAPTER_INFO, next_step)
    try:
        if info["format"] != FORMAT:
            raise RunError(f"{path}: written in format {info['format']}, this version reads {FORMAT}; update acclimate")
        saved_backbone = SavedEncoder.of_backbone(info)
        method_class = get_method(info["method"])
        config: Any = make_config(method_class.Config, info["config"])
        reads_domain = method_class.inputs_of(config).domain_encoder
        saved_encoder = SavedEncoder.of_domain_encoder(info) if reads_domain else None
        prompts = PromptSet.from_dict(info["prompts"])
        class_names = [str(name) for name in info["class_names"]]
        trained_classes = [str(name) for name in info.get("trained_classes", class_names)]
    except (AttributeError, KeyError, TypeError) as error:
        raise RunError(f"{path / folder.ADAPTER_INFO}: an entry is missing or wrong ({error}); adapt again") from None
    torch_device = resolve_device(device)
    backbone = open_backbone(saved_backbone.name if backbone is None else backbone, torch_device)
    saved_backbone.check(backbone, path)
    encoder = reopen_domain_encoder(path, saved_encoder, domain_encoder, method_class, config, backbone, torch_device)
    method = method_class(backbone, config, prompts, encoder)
    if trained_classes and isinstance(method, Classifier):
        method.bind(trained_classes)  # the classes that the tensors belong to
    else:
        method.build()
    tensors, _ = read_tensors(path / folder.ADAPTER)
    method.load_learned_state({name: tensor.to(backbone.device) for name, tensor in tensors.items()})
    method.eval()
    record = read_json(path / folder.RECORD, next_step)
    model = AdaptedModel(method, record, journal=folder.read_lines(path / folder.LOG), cache_dir=cache_dir)
    return model if class_names == list(model.class_names) else model.rebind(class_names)
