"""Pages on the screen of who called the command line."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path


def show_page(page: Path) -> bool:
    """Opens a file in the user's browser; whether there is one to open it in."""
    # without a display only browsers of text are found, and they would take the terminal
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in screens):
        return False
    try:
        return webbrowser.open(page.absolute().as_uri())
    except webbrowser.Error:
        return False
