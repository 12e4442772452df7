"""The first notebook in a real browser: it runs to its end, and its viewer works by keyboard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from labsim.wire.network import free_port

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
QUIET = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


class Lab:
    """A JupyterLab server of its own."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        config = root / "config"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        options = {
            "--ip": "127.0.0.1",
            "--port": self.port,
            "--ServerApp.port_retries": 0,
            "--IdentityProvider.token": "t",
            "--ServerApp.root_dir": root,
            "--LabApp.extension_manager": "readonly",
        }
        environment = {
            **os.environ,
            # The server kills its kernels, and a killed one cannot clean up after itself.
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(root)),
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTER_DATA_DIR": str(config),
            "JUPYTER_RUNTIME_DIR": str(config / "runtime"),
        }
        self.log = (root / "jupyter.log").open("w")
        self.process = subprocess.Popen(
            [*command, *(f"{name}={value}" for name, value in options.items())],
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}?token=t"

    def kernel(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url("/api/kernels"), timeout=5) as answer:
            kernels = json.load(answer)
        return kernels[0] if kernels else {}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def until(test: Callable[[], Any], seconds: float = 60) -> None:
    """Ask again and again: what a server of another program does raises no event here."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if test():
                return
        except OSError:
            pass  # not up yet
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s")


@pytest.fixture(scope="module")
def page(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The first notebook, after Run All Cells."""
    chromium = peer("chromium")
    root = tmp_path_factory.mktemp("lab")
    shutil.copy(NOTEBOOK, root)
    lab = Lab(root)
    try:
        until(lambda: lab.kernel() is not None)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET.split())
            shown = browser.new_page(viewport={"width": 1280, "height": 1000})
            shown.goto(lab.url(f"/lab/tree/{NOTEBOOK.name}"))
            shown.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
            # The page says idle before it has a kernel, and Run All would then ask for one.
            until(lambda: lab.kernel().get("execution_state") == "idle")
            until(lambda: lab.kernel().get("connections", 0) > 0)
            shown.get_by_role("menuitem", name="Run", exact=True).first.click()
            shown.get_by_text("Run All Cells", exact=True).first.click()
            shown.wait_for_selector("text=Not attempted", timeout=120_000)
            yield shown
            browser.close()
    finally:
        lab.close()


def test_no_cell_ends_in_an_error(page: Page) -> None:
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_viewer_works_by_keyboard_and_says_where_it_is(page: Page) -> None:
    picture = page.locator(".labsim-viewer canvas")
    picture.scroll_into_view_if_needed()
    before = picture.get_attribute("aria-label") or ""
    assert "CT thorax" in before
    page.get_by_label("Slice").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('.labsim-viewer canvas').ariaLabel !== before", arg=before
    )


def test_preset_changes_the_window_of_the_viewer(page: Page) -> None:
    page.locator(".labsim-viewer").scroll_into_view_if_needed()
    page.get_by_label("Window", exact=True).select_option("Lung")
    page.wait_for_selector(".labsim-viewer canvas[aria-label*='window -600 / 1500']")


def test_viewer_draws_more_than_one_shade(page: Page) -> None:
    shades = page.evaluate(
        """() => {
            const canvas = document.querySelector('.labsim-viewer canvas');
            const all = [0, 0, canvas.width, canvas.height];
            const data = canvas.getContext('2d').getImageData(...all).data;
            return new Set(data.filter((_, index) => index % 4 === 0)).size;
        }"""
    )
    assert shades > 50
