"""`predictions.parquet`: what the method of a run has said of the test images, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import Table

from acclimate.data.columns import column
from acclimate.errors import RunError
from acclimate.files import replace_file
from acclimate.runs import folder

if TYPE_CHECKING:
    from acclimate.data import ImageData


def predictions_table(
    found: Mapping[str, np.ndarray | Sequence[str | None]], data: ImageData, test: str, without: str = ""
) -> Table:
    """Return what was said of the images of a test as a table, with a row for each.

    Args:
        found: the columns of the task, see `Task.kept`.
        data: the images.
        test: name of the test.
        without: name of the ablation, of a method that predicts without a part of what it reads.
    """
    count = len(data)
    where: dict[str, Any] = {"test": [test] * count, "ablation": [without] * count, "key": data.keys}
    where |= {"path": data.places, "group": data.groups, "domain": data.domains}
    return pa.table({name: column(values) for name, values in (where | dict(found)).items()})


def join_predictions(tables: Sequence[Table]) -> Table | None:
    """Return all of them as one, in which a column that some do not have is null there; none where there is none."""
    return pa.concat_tables(tables, promote_options="default") if tables else None


def keep_predictions(path: Path, table: Table | None) -> None:
    """Write them into a run folder, or remove those of another run which was here, where there are none.

    Raises:
        RunError: the file cannot be written.
    """
    import pyarrow.parquet as pq

    file = path / folder.PREDICTIONS
    if table is None:
        file.unlink(missing_ok=True)
        return
    content = pa.BufferOutputStream()
    pq.write_table(table, content, compression="zstd")
    replace_file(file, content.getvalue().to_pybytes())


def read_predictions(path: Path) -> Table | None:
    """Read them from a run folder; none where there are none, as in runs of earlier releases.

    Raises:
        RunError: the file is damaged.
    """
    import pyarrow.parquet as pq

    file = path / folder.PREDICTIONS
    if not file.exists():
        return None
    try:
        return pq.read_table(pa.BufferReader(file.read_bytes()))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{file} is damaged ({str(error).splitlines()[0]}); restore it, or delete it") from None
