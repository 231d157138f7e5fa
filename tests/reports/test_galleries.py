"""Which images a report shows."""

from __future__ import annotations

from acclimate.reports.galleries import EACH, MOST, galleries_by, galleries_of_classes, gallery_of_changes


def row(key, label, predicted, probability, **more):
    return {"key": key, "label": label, "predicted": predicted, "probability": probability, **more}


def keys(gallery):
    return [one["key"] for one in gallery.rows]


def test_mistakes_of_one_kind_do_not_crowd_out_the_others():
    rows = [row(f"m{number}", "a", "b", 0.9 - number / 100) for number in range(30)]
    rows += [row("other", "b", "a", 0.2), row("right", "a", "a", 0.99)]
    found = {one.title: one for one in galleries_of_classes(rows)}
    assert keys(found["Most confident mistakes"]) == [f"m{number}" for number in range(EACH)] + ["other"]
    assert found["Most confident mistakes"].total == 31
    assert keys(found["Least sure"])[0] == "other"
    assert len(found["Least sure"].rows) == MOST
    assert keys(found["Most typical"]) == ["right"]
    assert "Unknown" not in found


def test_unknown_images_come_least_likely_first():
    rows = [row(str(p), "a", "a", 0.5, known=p >= 0.05, p_known=p) for p in (0.04, 0.01, 0.5, 0.02)]
    (unknown,) = [one for one in galleries_of_classes(rows) if one.title == "Unknown"]
    assert keys(unknown) == ["0.01", "0.02", "0.04"]


def test_typical_images_are_of_every_class():
    rows = [row(f"a{number}", "a", "a", 0.9) for number in range(40)] + [row("b", "b", "b", 0.1)]
    (typical,) = [one for one in galleries_of_classes(rows) if one.title == "Most typical"]
    assert "b" in keys(typical)


def test_changes_are_those_of_the_same_image():
    rows = [row("one", "a", "a", 0.9), row("two", "a", "b", 0.8)]
    others = [row("two", "a", "b", 0.6), row("one", "a", "b", 0.7)]
    found = gallery_of_changes(rows, others, "without exemplar")
    assert (keys(found), found.total, found.rows[0]["instead"]) == (["one"], 1, "without exemplar: b")
    assert gallery_of_changes(rows, rows, "without exemplar") is None


def test_the_worst_and_the_best():
    rows = [{"key": str(value), "cider_d": value} for value in (0.5, 0.1, 0.9)]
    worst, best = galleries_by(rows, "cider_d", "captions")
    assert (keys(worst), keys(best)) == (["0.1", "0.5", "0.9"], ["0.9", "0.5", "0.1"])
