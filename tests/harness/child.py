"""The application in a child of a server with several processes: it dies with its manager.

The kernel ends only the direct child of a test run that is killed (see launch.py), and neither
uvicorn's nor gunicorn's children notice that their manager is gone.
"""

from __future__ import annotations

import os
from typing import Any

from django.utils.module_loading import import_string

from tests.harness.launch import APPLICATION_VARIABLE, die_with_parent

die_with_parent()
application: Any = import_string(os.environ[APPLICATION_VARIABLE].replace(":", "."))
