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


def requested(driver: Any) -> list[str]:
    """Return the addresses that were asked for since this was called last, but for what stands in a page."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith(("data:", "blob:"))]


@contextmanager
def browse(page: Path | str, width: int, downloads: Path | None = None) -> Iterator[Seen]:
    """Open a page in a window of some width; the test is skipped where there is no browser.

    Args:
        page: a file, or the address of a page.
        width: of the window, in pixels.
        downloads: folder for what the page gives out, if it may.
    """
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
        address = page if isinstance(page, str) else page.as_uri()
        if downloads is not None:
            where = {"behavior": "allow", "downloadPath": str(downloads)}
            driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
        driver.get(address)
        elsewhere = [url for url in requested(driver) if url != address]
        yield Seen(driver, [entry["message"] for entry in driver.get_log("browser")], elsewhere)
    finally:
        driver.quit()
