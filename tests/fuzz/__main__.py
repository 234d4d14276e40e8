"""A coverage-guided fuzzer over the POST door: `make fuzz`, or `python -m tests.fuzz --seconds 60`.

An input is a request as text: its request line, its headers, an empty line, and its body. What was found
to reach new code is kept in the corpus. An input that breaks something is written to the directory, and
`python -m tests.fuzz FILE` sends it again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.fuzz.settings"

import atheris

with atheris.instrument_imports(include=["mcp_sessions"]):
    import django

    django.setup()

    from tests.fuzz.seeds import DICTIONARY, SEEDS, request_of
    from tests.fuzz.target import SECONDS, Target


def main() -> None:
    options = parsed()
    target = Target()

    def send(data: bytes) -> None:
        if (request := request_of(data)) is not None:
            target.send(request)

    if options.inputs:
        for path in options.inputs:
            send(Path(path).read_bytes())
        target.renew()
        return
    atheris.Setup([sys.argv[0], *flags(options)], send)
    atheris.Fuzz()


def parsed() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("inputs", nargs="*", metavar="FILE", help="send these inputs, and fuzz nothing")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--directory", type=Path, default=None, help="where the corpus is kept")
    return parser.parse_args()


def flags(options: Any) -> list[str]:
    """What libFuzzer is told."""
    directory = options.directory or Path(tempfile.mkdtemp(prefix="mcp_sessions_fuzz-"))
    corpus = directory / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = directory / "dictionary"
    dictionary.write_text("".join(f'"{quoted(each)}"\n' for each in DICTIONARY))
    return [
        str(corpus),
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-timeout={SECONDS * 2:.0f}",
        f"-dict={dictionary}",
        f"-artifact_prefix={directory}/",
        "-max_len=4096",
        "-print_final_stats=1",
    ]


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


if __name__ == "__main__":
    main()
