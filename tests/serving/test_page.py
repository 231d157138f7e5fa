"""The page on which images are dropped: its source, and what a real browser makes of it."""

from __future__ import annotations

import csv
import json
import re

import pytest

import acclimate
from acclimate.data import load_data
from tests.helpers.browser import browse, requested
from tests.helpers.command import acclimate as command
from tests.helpers.pictures import picture
from tests.helpers.runs import quick
from tests.helpers.serving import serving
from tests.helpers.waiting import wait_until

NAMES = ("<script>alert('x')</script>", '"><img src=x onerror=alert(1)>', "🪨 =granite_1")


def test_it_asks_for_nothing_elsewhere_and_runs_its_own_script_alone(server):
    answer = server.get("/")
    assert not re.findall(r'(?:src|href|action)="(?!data:)', answer.text)
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert "innerHTML" not in answer.text
    (nonce,) = set(re.findall(r'nonce="([^"]*)"', answer.text))
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'")
    assert "unsafe" not in policy
    assert nonce not in server.get("/").text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, tiny):
    """A run whose classes have names that mean something to a browser, and images that do."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = ["path,label,split"]
    for split, count in (("train", 8), ("test", 2)):
        for kind, name in enumerate(NAMES):
            for number in range(count):
                picture(kind, number, seed=len(split)).save(folder / f"{split}-{kind}-{number}.png")
                quoted = name.replace('"', '""')
                rows.append(f'{split}-{kind}-{number}.png,"{quoted}",{split}')
    (folder / "table.csv").write_text("\n".join(rows))
    out = folder / "run"
    quick(load_data(folder / "table.csv"), tiny, method="kernel-ridge", settings={}, shots="all", out=out)
    sent = folder / "=<b>sent.png"
    (folder / "test-2-0.png").rename(sent)
    (folder / "text.png").write_text("no image")
    return out, [sent, folder / "test-0-0.png", folder / "text.png"]


def read(cell):
    """A number as one, which a page writes as 1 where Python writes 1.0; other texts as they are."""
    try:
        return float(cell)
    except ValueError:
        return cell


def cards(driver):
    return driver.find_elements("css selector", ".card")


def sent(driver, files):
    """Choose files, and wait until each has a card and no answer is waited for."""
    before = len(cards(driver))
    driver.find_element("id", "files").send_keys("\n".join(map(str, files)))
    wait_until(lambda: len(cards(driver)) == before + len(files), "cards")


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_labels_sets_maps_and_gives_them_out(hostile, tiny, tmp_path, width):
    run, files = hostile
    model = acclimate.load(run, tiny)
    with serving({"<i>one</i>": model, "two": model}) as client, browse(client.url + "/", width, tmp_path) as seen:
        driver = seen.driver
        wait_until(lambda: driver.find_element("id", "work").is_displayed(), "runs")
        driver.find_element("id", "maps").click()
        sent(driver, files)
        wait_until(lambda: len(driver.find_elements("css selector", ".views img")) == 4, "maps of two images")
        text = driver.find_element("tag name", "main").text
        for name in NAMES:
            assert name in text
        assert "<b>sent.png" in text
        assert "cannot read image 'text.png'" in text
        assert driver.find_elements("css selector", ".set")
        assert driver.find_elements("css selector", "main b, main i, main script") == []
        assert seen.overflow == 0
        assert seen.broken == 0

        for kind in ("csv", "json"):
            driver.find_element("id", kind).click()
            wait_until((tmp_path / f"labels.{kind}").is_file, kind)
        done = command("predict", run, *files, "--out", tmp_path / "own.jsonl", "--coverage", 0.9)
        assert done.code == 2  # one of them is no image
        own = [json.loads(line) for line in (tmp_path / "own.jsonl").read_text().splitlines()]
        given = json.loads((tmp_path / "labels.json").read_text())
        assert [row["label"] for row in given if not row["error"]] == [row["label"] for row in own if not row["error"]]
        command("predict", run, *files, "--out", tmp_path / "own.csv", "--coverage", 0.9)
        (head, *rows), (own_head, *own_rows) = (
            list(csv.reader((tmp_path / name).open())) for name in ("labels.csv", "own.csv")
        )
        assert head == own_head
        assert rows[0][0] == "'=<b>sent.png"  # no formula
        for row, own_row in zip(rows[:2], own_rows, strict=False):
            pairs = zip(map(read, row[1:]), map(read, own_row[1:]), strict=True)
            assert all(one == (pytest.approx(own, abs=1e-6) if isinstance(own, float) else own) for one, own in pairs)

        assert [url for url in requested(driver) if not url.startswith(client.url)] == []
        failed = [entry["message"] for entry in driver.get_log("browser")]
        assert not [message for message in failed if "422" not in message], failed  # of the text that is no image


@pytest.mark.slow
def test_the_page_asks_for_the_token(hostile, tiny):
    run, files = hostile
    with serving({"one": acclimate.load(run, tiny)}, token="s3cret") as client, browse(client.url + "/", 1400) as seen:
        driver = seen.driver
        field = driver.find_element("id", "token")
        wait_until(field.is_displayed, "door")
        assert not driver.find_element("id", "work").is_displayed()
        field.send_keys("wrong\n")
        wait_until(lambda: "asks for a token" in driver.find_element("id", "status").text, "refusal")
        field.clear()
        field.send_keys("s3cret\n")
        wait_until(lambda: driver.find_element("id", "work").is_displayed(), "runs")
        sent(driver, files[:1])
        assert driver.find_element("css selector", ".card .label").text
