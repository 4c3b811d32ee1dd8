"""nginx as the reference server: the same files under the same certificate, over HTTP/1.1 and HTTP/2."""

import shutil
import socket
import subprocess
import time

READY_WITHIN = 10.0

CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  charset utf-8;
  access_log off;
  gzip_static on;
  gzip_vary on;
  # RFC 9110 §13.1.3; by default nginx takes the date for a tag.
  if_modified_since before;
  # As the server under test: where to is left to the client, who knows its own authority.
  absolute_redirect off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    root {root};
  }}
}}
"""


class Nginx:
    """One process without workers, on a free port, from the first connection that it takes to its end."""

    def __init__(self, folder, root, certificate):
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        assert program, "no nginx; `cargo xtask test` installs it"
        folder.mkdir(parents=True)
        self.port = free_port()
        self._log = folder / "stderr"
        config = folder / "nginx.conf"
        names = {"folder": folder, "root": root, "port": self.port}
        config.write_text(CONFIG.format(cert=certificate.cert, key=certificate.key, **names))
        with self._log.open("wb") as err:
            argv = [program, "-p", folder, "-c", config]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=err)
        self._wait_ready()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()

    def _wait_ready(self):
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self._log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.02)
        self.stop()
        raise AssertionError(f"nginx is not ready after {READY_WITHIN} s: {self._log.read_text()}")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
