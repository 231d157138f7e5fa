"""Features of images from frozen encoders, without any labels: streamed, and as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from acclimate import __version__, arguments
from acclimate.backbones.backbone import as_dual
from acclimate.backbones.kinds import DUAL, KINDS
from acclimate.data import each_image
from acclimate.data.bands import Bands, parse_bands
from acclimate.data.given import Several
from acclimate.errors import ConfigError, RunError
from acclimate.runs.encoders import open_backbone
from acclimate.runs.prediction import Reader, stream_read
from acclimate.runs.prediction_files import ParquetWriter
from acclimate.training.devices import Precision, resolve_device, resolve_precision
from acclimate.training.inputs import DOMAIN, GRIDS, IMAGE, POOLED, Given, tiled
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder, Encoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.training.batch import Batch

SUFFIX = ".parquet"
ROWS = 256  # of a group in the file
KIND_OF = {"projected": IMAGE, "before": POOLED}


@dataclass(frozen=True)
class Embedding:
    """What an encoder gives of an image.

    Attributes:
        path: the file, or empty for an image in memory.
        features: (F,) of the whole image, not normalised; none where it could not be read.
        tiles: (grid^2, F) of its tiles, row by row; none where none are wanted.
        error: why the image could not be read, or empty.
    """

    path: str
    features: NDArray[np.float32] | None = None
    tiles: NDArray[np.float32] | None = None
    error: str = ""


class Embedder:
    """A frozen encoder that reads images, and what is read of them.

    Args:
        encoder: a dual encoder, or a domain encoder.
        kind: of its features, one of its `widths`.
        grid: tiles in a row, and in a column, that are read beside the whole image; 0: none are.
        bands: those of each file that are shown; none: the first ones.
        precision: number format, see `in_precision`.
    """

    reads: frozenset[str] = frozenset()

    def __init__(
        self, encoder: Encoder, kind: str, grid: int = 0, bands: Bands | None = None, precision: Precision = "fp32"
    ) -> None:
        self.encoder, self.kind, self.grid, self.bands = encoder, kind, grid, bands
        self.precision = resolve_precision(precision, encoder.device)
        self.field = tiled(kind, grid) if grid else kind

    @classmethod
    def of(
        cls,
        backbone: str | os.PathLike[str] | Backbone | None = None,
        domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
        features: str = "projected",
        grid: int = 0,
        bands: str | Sequence[int] | None = None,
        device: str = "auto",
        precision: Precision = "fp32",
    ) -> Embedder:
        """Return the embedder of a backbone or of a domain encoder, by id or folder; see `embed_images`."""
        from acclimate.backbones import load_domain_encoder

        arguments.optional(arguments.encoder, "backbone", backbone)
        arguments.optional(arguments.encoder, "domain_encoder", domain_encoder)
        arguments.one_of("features", features, tuple(KIND_OF))
        grid, shown, where = arguments.whole("grid", grid, 0), parse_bands(bands), resolve_device(device)
        if grid and grid not in GRIDS:
            raise ConfigError(f"`{grid=}`: choose 0, for the whole image alone, or {', '.join(map(str, GRIDS))}")
        if domain_encoder is None:
            found = as_dual(open_backbone(backbone or KINDS[DUAL].example, where), "embedding")
            if KIND_OF[features] not in found.widths:
                raise ConfigError(f"`{features=}`: '{found.name}' has no such features; choose another")
            return cls(found, KIND_OF[features], grid, shown, precision)
        if backbone is not None or features != "projected":
            other = "backbone" if backbone is not None else "features"
            raise ConfigError(f"`{other}` is for the image tower of a backbone; leave it or `domain_encoder` out")
        if isinstance(domain_encoder, str | os.PathLike):
            domain_encoder = load_domain_encoder(os.fspath(domain_encoder), None, where)
        return cls(domain_encoder, DOMAIN, grid, shown, precision)

    @property
    def width(self) -> int:
        """Number F of features of an image, or of a tile."""
        return self.encoder.widths[self.kind]

    def describe(self) -> dict[str, Any]:
        """Return what decides the features, ready for JSON."""
        return {
            "acclimate": __version__,
            "encoder": self.encoder.name,
            "fingerprint": self.encoder.fingerprint,
            "identity": self.encoder.identity,
            "kind": self.kind,
            "width": self.width,
            "grid": self.grid,
            "precision": self.precision,
            "bands": None if self.bands is None else list(self.bands),
            "transform": self.encoder.transform.to_dict(),
        }

    def stream(self, images: Several, batch_size: int = 32, on_corrupt: str = "error") -> Iterator[Embedding]:
        """Yield what the encoder gives of each image, in order; arguments as in `embed_images`."""
        batch_size = arguments.whole("batch_size", batch_size, 1)
        arguments.one_of("on_corrupt", on_corrupt, ("error", "skip"))
        domain = cast("DomainEncoder", self.encoder) if self.kind == DOMAIN else None
        given = Given(cast("DualEncoder", self.encoder), domain)  # a domain encoder alone stands in both places
        encoders = [] if self.grid else [(self.encoder, frozenset({self.kind}))]
        others = [self.field] if self.grid else []
        reader = Reader(encoders, others, given, bands=self.bands, precision=self.precision)
        return stream_read(self, None, reader, each_image(images), batch_size, on_corrupt)

    def predict(self, method: None, batch: Batch, paths: Sequence[str]) -> Iterator[Embedding]:
        """Yield the features of each image of a batch."""
        rows: NDArray[np.float32] = getattr(batch, self.field).cpu().numpy()
        for path, row in zip(paths, rows, strict=True):
            yield Embedding(path, row[0], row[1:]) if self.grid else Embedding(path, row)

    def unreadable(self, path: str, reason: str) -> Embedding:
        """Return an embedding without features."""
        return Embedding(path, error=reason)


def embed_images(
    images: Several,
    backbone: str | os.PathLike[str] | Backbone | None = None,
    domain_encoder: str | os.PathLike[str] | DomainEncoder | None = None,
    *,
    features: str = "projected",
    grid: int = 0,
    batch_size: int = 32,
    on_corrupt: str = "error",
    bands: str | Sequence[int] | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
) -> Iterator[Embedding]:
    """Yield the features that a frozen encoder gives of each image, holding a few batches at a time.

    Args:
        images: as in `AdaptedModel.predict`.
        backbone: id or folder of a dual encoder, or a loaded one; none, and no domain encoder either: the embedded one.
        domain_encoder: the same of a domain encoder, in place of a backbone.
        features: of a backbone "projected" into the joint space of images and texts, or "before" the projection.
        grid: tiles in a row, and in a column, that are read beside the whole image, 2 to 4; 0: none are.
        batch_size: images a pass, 1 or more.
        on_corrupt: `error` raises at the first unreadable image; `skip` yields an embedding with its `error`.
        bands: those of images of many that are shown, such as "4,3,2".
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: number format of products: `fp32`, `bf16`, `fp16`, or `auto`.

    Raises:
        AcclimateError: an encoder that is not found, an option out of its range, or an image that cannot be read.
    """
    found = Embedder.of(backbone, domain_encoder, features, grid, bands, device, precision)
    return found.stream(images, batch_size, on_corrupt)


def write_embeddings(
    embedder: Embedder, images: Several, path: Path, batch_size: int = 32, progress: Progress | None = None
) -> tuple[int, list[str]]:
    """Write the features of images to a Parquet file, whose schema says by `acclimate` what decided them.

    It has the columns `path`, `features` (F numbers in float32), `tiles` (grid^2 times F) where there are some, and
    `error`. The file takes its place when it is complete.

    Args:
        embedder: gives the features.
        images: as in `embed_images`; of those that cannot be read there is a row with the reason, and no features.
        path: the file, `.parquet`.
        batch_size: images a pass.
        progress: told of every image.

    Returns:
        How many rows there are, and why images could not be read.

    Raises:
        RunError: for another suffix, or a file that cannot be written.
        DataError: images that are not found.
    """
    import pyarrow as pa

    if path.suffix.lower() != SUFFIX:
        raise RunError(f"{path}: features are written as Parquet, which keeps every bit; name a file in {SUFFIX}")
    one = pa.list_(pa.float32(), embedder.width)
    columns: dict[str, Any] = {"path": str, "features": one}
    columns |= {"tiles": pa.list_(one, embedder.grid**2)} if embedder.grid else {}
    told = {"acclimate": json.dumps(embedder.describe(), ensure_ascii=False)}
    progress, count, failed = progress or Silent(), 0, list[str]()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = ParquetWriter(path, columns | {"error": str}, told, ROWS)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another file") from None
    progress.start("images", None)
    try:
        for found in embedder.stream(images, batch_size, "skip"):
            writer.write(_row(found))
            count += 1
            failed += [found.error] if found.error else []
            progress.advance(1)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    progress.finish()
    return count, failed


def _row(found: Embedding) -> dict[str, Any]:
    tiles = None if found.tiles is None else list(found.tiles)
    return {"path": found.path, "features": found.features, "tiles": tiles, "error": found.error}
