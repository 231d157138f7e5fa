"""A real browser that looks at a page, without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


@dataclass
class Seen:
    """What a browser says of a page.

    Attributes:
        driver: of the browser.
        console: what the page has complained of.
        requests: addresses that it has asked for, but for itself and what stands in it.
    """

    driver: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        found: int = self.driver.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return found

    @property
    def broken(self) -> int:
        """How many images are not shown."""
        script = "return [...document.images].filter(one => one.complete && !one.naturalWidth).length"
        found: int = self.driver.execute_script(script)
        return found


@contextmanager
def browse(page: Path, width: int) -> Iterator[Seen]:
    """Open a page in a window of some width; the test is skipped where there is no browser."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if not all(programs.values()):
        pytest.skip("needs chromium and chromedriver, Debian's packages chromium and chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(programs["chromium"])
    for word in (*QUIET, f"--window-size={width},1000"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(programs["chromedriver"])))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
        )  # a window is never as narrow as a phone
        driver.get(page.as_uri())
        messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        elsewhere = [url for url in asked if not url.startswith("data:") and url != page.as_uri()]
        yield Seen(driver, [entry["message"] for entry in driver.get_log("browser")], elsewhere)
    finally:
        driver.quit()
