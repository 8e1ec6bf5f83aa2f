"""The server under all contenders: one nginx worker that answers every chat completion with the same bytes.

A server that costs next to nothing leaves the client as what is measured.
"""

from __future__ import annotations

import contextlib
import grp
import http.client
import itertools
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

_status_requests = itertools.count(1)
"""Requests of the status page itself, which the server counts too."""

_READY_WITHIN = 5.0  # seconds

_CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location = /v1/chat/completions {{
      if ($request_method != POST) {{ return 405; }}
      return 200 '{completion}';
    }}
    location = /status {{ stub_status; }}
  }}
}}
"""

_COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1,
    "model": "bench-model",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "It is an everyday thing with a long history. People rely on it more than they notice. "
                "Few remember that it once surprised everybody.",
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 44, "completion_tokens": 27, "total_tokens": 71},
}


class NginxError(Exception):
    """There is no nginx, or it does not start."""


def find_nginx() -> str:
    """The path of the nginx program, also where only root has it on the PATH.

    Raises:
        NginxError: There is none.
    """
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NginxError("nginx is needed to answer the requests: apt-get install nginx-light")
    return found


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run nginx on a free port of 127.0.0.1; gives the base URL, up to and including `/v1`.

    Raises:
        NginxError: There is no nginx, or it does not start.
    """
    program, port = find_nginx(), _free_port()
    with tempfile.TemporaryDirectory(prefix="flexllm-bench-nginx-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the worker is another user when root starts it
        config = folder / "nginx.conf"
        config.write_text(_config(folder, port), encoding="utf-8")
        command = [program, "-p", name, "-e", f"{name}/start.log", "-c", str(config)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait_until_ready(process, port, folder)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def count_requests(base_url: str) -> int:
    """How many completions the server has given since it started.

    Raises:
        NginxError: It has no status page, or does not answer.
    """
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/status")
        numbers = re.search(rb"^ \d+ \d+ (\d+)", connection.getresponse().read(), re.MULTILINE)
    except OSError as error:
        raise NginxError(f"nginx does not tell its requests: {error}") from None
    finally:
        connection.close()
    if numbers is None:
        raise NginxError("nginx does not tell its requests: no status page")
    return int(numbers[1]) - next(_status_requests)


def nginx_version() -> str:
    """What `nginx -v` says, such as `nginx/1.22.1`."""
    result = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, check=False)
    return (result.stderr or result.stdout).strip().rpartition(" ")[2]


def _config(folder: Path, port: int) -> str:
    user = ""
    if os.geteuid() == 0:
        user = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(0).gr_name};"
    completion = json.dumps(_COMPLETION, separators=(",", ":"))
    assert not set(completion) & set("'$\\"), "these characters mean something else in nginx's configuration"
    return _CONFIG.format(folder=folder, port=port, user=user, completion=completion)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("POST", "/v1/chat/completions", b"{}")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    log = folder / "start.log"
    reason = log.read_text(errors="replace").strip()[-400:] if log.exists() else ""
    raise NginxError(f"nginx does not start: {reason or 'no answer'}")
