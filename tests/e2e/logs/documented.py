"""The end-to-end settings with the LOGGING that docs/logging.md shows."""

import os
from pathlib import Path
from typing import Any

from tests.e2e_settings import *  # noqa: F403
from tests.harness.pages import examples

BASE_DIR = Path(os.environ["E2E_FOLDER"])
LOGGING: dict[str, Any] = {}

_shown = {"BASE_DIR": BASE_DIR}
for name in ("json", "file"):
    exec(examples("logging.md")[name], _shown)
LOGGING = _shown["LOGGING"]  # type: ignore[assignment]
