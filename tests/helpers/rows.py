"""Data sets without files: keys, labels, domains and groups, for what looks at nothing else."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from acclimate.data import ImageData

Row = tuple[str, str, str, str]  # key, label, domain, group


def data_of(rows: list[Row], name: str = "made") -> ImageData:
    key, label, domain, group = (list(column) for column in zip(*rows, strict=True))
    columns = {"key": key, "path": key, "label": label, "domain": domain, "group": group, "split": [""] * len(rows)}
    return ImageData(name, pa.table(columns), tuple(sorted(set(label))))


def simple(per_class: int, classes: int = 3, domains: int = 1, group_size: int = 1) -> ImageData:
    rows = []
    for c in range(classes):
        for d in range(domains):
            for n in range(per_class):
                group = f"g{c}-{d}-{n // group_size}" if group_size > 1 else ""
                rows.append((f"{c}/{d}/{n:04d}", f"class{c}", f"domain{d}" if domains > 1 else "", group))
    return data_of(rows)


rows_of_anything = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "x", "y"]), st.sampled_from(["", *"123456"])),
    min_size=1,
    max_size=60,
).map(lambda rows: [(f"{number:03d}", *row) for number, row in enumerate(rows)])
