#!/usr/bin/env python3
"""Django's command line, for the example project unless DJANGO_SETTINGS_MODULE says otherwise."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    from django.core.management import execute_from_command_line
    from django.core.management.commands.runserver import Command as RunserverCommand

    # Daphne's runserver inherits it, so `manage.py runserver` listens where PORT says.
    RunserverCommand.default_port = os.environ.get("PORT", "8000")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
