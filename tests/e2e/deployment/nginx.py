"""A real nginx with the documented configuration, as an ordinary process on ports of the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.harness.ports import free_port, is_open
from tests.harness.server import ROOT, START_DEADLINE, STOP_DEADLINE, ServerProcess, wait_until
from tests.harness.services import unavailable

DOCUMENTED: Final = ROOT / "docs/deployment/nginx.conf"
READ_TIMEOUT: Final = 4.0
"""What the test has in place of the documented minute."""
# The documented file is for the http context; the rest is what a distribution's nginx.conf has.
MAIN: Final = """
{user}
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    gzip on;
    gzip_types text/event-stream application/json;
    gzip_min_length 1;
    include shop.conf;
}}
"""
START: Final = (
    "import os, sys; from tests.harness.launch import die_with_parent; die_with_parent(); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def program() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        unavailable("There is no nginx.")
    return found


@dataclass
class Nginx:
    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def reload(self) -> None:
        """As `systemctl reload nginx`: new worker processes take over, the old ones end."""
        self.process.send_signal(signal.SIGHUP)

    def text(self, name: str) -> str:
        file = self.folder / name
        return file.read_text() if file.exists() else ""


@contextmanager
def running(folder: Path, upstreams: Sequence[ServerProcess]) -> Iterator[Nginx]:
    nginx, port = program(), free_port()
    (folder / "shop.conf").write_text(configuration(folder, port, upstreams))
    # The master gives its workers up to nobody, who may not look into a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(user=user))
    command = [sys.executable, "-c", START, nginx, "-p", f"{folder}/", "-c", "nginx.conf"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-e", str(folder / "error.log")], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    found = Nginx(folder, port, process)
    try:
        assert wait_until(lambda: is_open(port) or process.poll() is not None, START_DEADLINE)
        assert process.poll() is None, found.text("nginx.log") + found.text("error.log")
        yield found
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE)


def configuration(folder: Path, port: int, upstreams: Sequence[ServerProcess]) -> str:
    """The documented file with the ports and the folder of the test, and a minute that is shorter."""
    changes = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "127.0.0.1:8001": f"127.0.0.1:{upstreams[0].port}",
        "127.0.0.1:8002": f"127.0.0.1:{upstreams[1].port}",
        "proxy_read_timeout 60s;": f"proxy_read_timeout {READ_TIMEOUT:g}s;",
        "/var/log/nginx/shop.access.log": str(folder / "shop.access.log"),
        "/var/log/nginx/shop.error.log": str(folder / "shop.error.log"),
    }
    text = DOCUMENTED.read_text()
    for documented, here in changes.items():
        assert text.count(documented) == 1, documented
        text = text.replace(documented, here)
    return text
