"""Files that cannot be decoded, images without content, and files that are no images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from acclimate.counting import counted
from acclimate.data.check.facts import Fact
from acclimate.data.check.report import EXAMPLES, Finding, Level, listed
from acclimate.data.dataset import ImageData
from acclimate.data.ordering import some

BLANK = 0.5
"""Images with a contrast (standard deviation of grey, of 255) below this show nothing."""

TINY_SIDE = 32
"""Images with a shorter side below this many pixels are pointed out; backbones enlarge them to 224 or more."""

MOSTLY = 0.5
"""Images with a larger share of pixels without data are warned of."""


def find_corrupt(data: ImageData, facts: Sequence[Fact | None], reasons: Mapping[int, str]) -> list[Finding]:
    """Report images that cannot be decoded, each with its reason; blank and tiny images; other files."""
    findings = []
    if reasons:
        bad = sorted(reasons)
        kinds = some([f"{count} x {reason}" for reason, count in Counter(reasons.values()).most_common()], 3)
        findings.append(
            Finding(
                "error",
                "corrupt",
                f"{counted(len(bad), 'image')} cannot be decoded ({kinds}); replace or remove, or leave out with "
                "`on_corrupt='skip'`",
                len(bad),
                tuple((data.keys[row], reasons[row]) for row in bad[:EXAMPLES]),
            )
        )
    if data.skipped:
        text = f"{counted(len(data.skipped), 'corrupt image was', 'corrupt images were')} left out at load"
        findings.append(Finding("warning", "skipped", text, len(data.skipped), listed(list(data.skipped))))
    blank = [data.keys[row] for row, fact in enumerate(facts) if fact is not None and fact.contrast < BLANK]
    if blank:
        count = counted(len(blank), "image is", "images are")
        text = f"{count} of one even colour; look, and remove what shows nothing"
        findings.append(Finding("warning", "blank", text, len(blank), listed(blank)))
    tiny = [
        data.keys[row]
        for row, fact in enumerate(facts)
        if fact is not None and min(fact.width, fact.height) < TINY_SIDE
    ]
    if tiny:
        count = counted(len(tiny), "image has", "images have")
        text = f"{count} a side shorter than {TINY_SIDE} pixels; larger originals would serve better"
        findings.append(Finding("info", "tiny_pictures", text, len(tiny), listed(tiny)))
    findings += [
        Finding(remark.level, remark.kind, remark.text, len(remark.names), listed(list(remark.names)))
        for remark in data.remarks
        if remark.kind != "spelling"  # of the classes, which are looked at elsewhere
    ]
    findings += _scaled(data, facts)
    odd: dict[str, list[str]] = {}
    for row, fact in enumerate(facts):
        for oddity in fact.oddities if fact is not None else ():
            odd.setdefault(oddity, []).append(data.keys[row])
    for oddity, keys in odd.items():
        text = f"{counted(len(keys), 'image is', 'images are')} not read in full: {oddity}"
        findings.append(Finding("warning", "read_in_part", text, len(keys), listed(keys)))
    if data.other_files:
        endings = Counter(os.path.splitext(file)[1].lower() or "no ending" for file in data.other_files)
        kinds = some([f"{count} x {ending}" for ending, count in endings.most_common()])
        count = counted(len(data.other_files), "file is no image and was", "files are not images and were")
        text = f"{count} left out ({kinds})"
        findings.append(Finding("info", "other_files", text, len(data.other_files), listed(list(data.other_files))))
    return findings


def _scaled(data: ImageData, facts: Sequence[Fact | None]) -> list[Finding]:
    """Report images whose values were stretched, and those with pixels that have no data."""
    known = [(data.keys[row], fact) for row, fact in enumerate(facts) if fact is not None]
    findings = []
    if stretched := [key for key, fact in known if fact.stretched]:
        count = counted(len(stretched), "image has", "images have")
        text = f"{count} other values than those of 8 bits, stretched image by image, so that absolute values are lost"
        findings.append(Finding("info", "stretched", text, len(stretched), listed(stretched)))
    if lacking := sorted(((fact.no_data, key) for key, fact in known if fact.no_data), reverse=True):
        count, share = (
            counted(len(lacking), "image has", "images have"),
            sum(share for share, _ in lacking) / len(lacking),
        )
        most = sum(share > MOSTLY for share, _ in lacking)
        text = f"{count} pixels without data, shown black: {share:.0%} of them on average"
        text += f", more than half in {counted(most, 'image')}; remove what shows nothing" if most else ""
        level: Level = "warning" if most else "info"
        findings.append(Finding(level, "no_data", text, len(lacking), listed([key for _, key in lacking])))
    return findings
