"""Classes that are tiny, uneven, misspelt, or missing from a split or a domain; groups that a given split tears."""

from __future__ import annotations

from collections import Counter, defaultdict

from acclimate.counting import counted
from acclimate.data.check.report import EXAMPLES, Finding, Level, listed
from acclimate.data.dataset import ImageData
from acclimate.data.ordering import some
from acclimate.data.rows import spelled_differently

FEW = 10
"""Classes with fewer images than this are pointed out."""

UNEVEN, VERY_UNEVEN = 3.0, 10.0
"""Ratios of the largest class to the smallest from which imbalance is mentioned, and from which it is a warning."""


def find_class_problems(data: ImageData) -> list[Finding]:
    """Report what is wrong with the classes, splits, domains and groups, from the labels alone."""
    return [*_sizes(data), *_spelling(data), *_splits(data), *_groups(data), *_domains(data)]


def _sizes(data: ImageData) -> list[Finding]:
    findings = []
    counts = {name: count for name, count in data.counts().items() if count}
    single = [name for name, count in counts.items() if count == 1]
    few = [name for name, count in counts.items() if 1 < count < FEW]
    if single:
        count = counted(len(single), "class has a single image, so it", "classes have a single image, so they")
        text = f"{count} cannot be tested: {some(single)}; add some or merge"
        findings.append(Finding("error", "single_picture", text, len(single), listed(single)))
    if few:
        count = counted(len(few), "class has", "classes have")
        text = f"{count} fewer than {FEW} images: {some(few)}; such figures will be uncertain"
        findings.append(Finding("warning", "few_pictures", text, len(few), listed(few)))
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[most] / counts[least]
    if ratio >= UNEVEN:
        text = (
            f"the largest class ({most}, {counts[most]}) has {ratio:.1f} times as many images as the smallest "
            f"({least}, {counts[least]}); read balanced accuracy, not accuracy"
        )
        level: Level = "warning" if ratio >= VERY_UNEVEN else "info"
        findings.append(Finding(level, "imbalance", text, len(counts), ((most,), (least,))))
    return findings


def _spelling(data: ImageData) -> list[Finding]:
    same = spelled_differently(data.class_names)
    if not same:
        return []
    shown = some([" = ".join(names) for names in same])
    count = counted(len(same), "label occurs", "labels occur")
    text = f"{count} in several spellings: {shown}; if they mean the same, spell them alike"
    return [Finding("warning", "spelling", text, len(same), tuple(same[:EXAMPLES]))]


def _splits(data: ImageData) -> list[Finding]:
    findings = []
    counts = Counter(zip(data.splits, data.label_names, strict=True))
    present = {split for split, _ in counts}
    for split in ("train", "test"):
        if split not in present:
            verb = "learned" if split == "train" else "measured"
            text = f"there are no {split} images, so nothing can be {verb}; correct the split or leave it out"
            findings.append(Finding("warning", f"no_{split}", text))
    for split in ("train", "val", "test"):
        absent = [name for name in data.class_names if not counts[split, name]]
        if split in present and absent:
            level: Level = "error" if split == "train" else "warning" if split == "test" else "info"
            count = counted(len(absent), "class has", "classes have")
            text = f"{count} no {split} images: {some(absent)}; correct the split or add images"
            findings.append(Finding(level, f"absent_from_{split}", text, len(absent), listed(absent)))
    return findings


def _groups(data: ImageData) -> list[Finding]:
    sides: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(data.groups, data.splits, strict=True):
        if group:
            sides[group].add(split)
    torn = sorted(group for group, splits in sides.items() if len(splits) > 1)
    if not torn:
        return []
    count = counted(len(torn), "group is", "groups are")
    text = f"{count} on several sides of the given split, which leaks: {some(torn)}; correct the split"
    return [Finding("error", "group_across_splits", text, len(torn), listed(torn))]


def _domains(data: ImageData) -> list[Finding]:
    if len(data.domain_names) < 2:
        return []
    found = set(zip(data.domains, data.label_names, strict=True))
    holes = [(domain, name) for domain in data.domain_names for name in data.class_names if (domain, name) not in found]
    if not holes:
        return []
    shown = some([f"{domain}/{name}" for domain, name in holes])
    count = counted(len(holes), "class is", "classes are")
    text = f"{count} missing from a domain: {shown}; the domain then tells something about the class"
    return [Finding("warning", "domain_holes", text, len(holes), tuple(holes[:EXAMPLES]))]
