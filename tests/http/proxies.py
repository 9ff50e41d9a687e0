"""nginx and haproxy in front of a node, and a tap between them that counts the node's answers.

Both run in the foreground as the present user, one thread each, on a Unix socket in a directory of their own, and pass
on as much as they can be told to: bodies unbuffered, odd header names, doubled slashes. One connection to the node is
kept and shared by all clients, so an answer too many would reach the wrong one.
"""

import contextlib
import pathlib
import re
import selectors
import shutil
import socket
import tempfile
import threading

from node import Process, await_that, connect

NGINX = """
daemon off;
master_process off;
pid {dir}/pid;
error_log {dir}/error.log;
events {{ worker_connections 64; }}
http {{
  log_format row '$status "$upstream_status" "$request"';
  access_log {dir}/requests row;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  client_max_body_size 0;
  client_header_buffer_size 64k;
  large_client_header_buffers 4 64k;
  ignore_invalid_headers off;
  underscores_in_headers on;
  merge_slashes off;
  lingering_close off;
  map $http_upgrade $hop {{ default upgrade; '' ''; }}
  upstream node {{ server {host}:{port}; keepalive 1; }}
  server {{
    listen unix:{dir}/socket;
    location / {{
      proxy_pass http://node;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_next_upstream off;
      proxy_ignore_client_abort on;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $hop;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 64
  log stdout len 65535 format raw local0
  tune.bufsize 65536
  tune.http.maxhdr 1000
defaults
  mode http
  log global
  log-format '%ST "%s" %{{+Q}}r'
  option http-no-delay
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend clients
  bind unix@{dir}/socket
  {relaxed}
  default_backend node
backend node
  http-reuse always
  server node {host}:{port}
"""


class Tap:
    """Passes connections on to `target` and counts the answers that come back."""

    ANSWER = re.compile(rb"\r\nX-Request-Id: ")  # one in every answer but `100 Continue`

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.wake, self.woken = socket.socketpair()
        self.selector.register(self.woken, selectors.EVENT_READ)
        self.said = {}  # of each connection of the node: its end, where an answer may be cut
        self.answers = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def close(self):
        self.wake.close()
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            if key.data:
                key.data.close()  # it may have ended already, and be registered no more
            key.fileobj.close()
        self.selector.close()

    def _run(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.woken:
                    return
                if key.fileobj is self.listener:
                    self._begin()
                else:
                    self._pass_on(key.fileobj, key.data)

    def _begin(self):
        client, _ = self.listener.accept()
        node = socket.create_connection(self.target)
        self.said[node] = b""
        for one, other in ((client, node), (node, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(one, selectors.EVENT_READ, other)

    def _pass_on(self, one, other):
        try:
            data = one.recv(65536)
        except OSError:
            data = b""
        if data and one in self.said:
            text = self.said[one] + data
            self.answers += len(self.ANSWER.findall(text))
            self.said[one] = text[-(len("\r\nX-Request-Id: ") - 1):]
        with contextlib.suppress(OSError):
            if data:
                other.sendall(data)
                return
            other.shutdown(socket.SHUT_WR)
        self.selector.unregister(one)
        if other not in self.selector.get_map():  # both sides have ended
            for stream in (one, other):
                self.said.pop(stream, None)
                stream.close()


class Proxy:
    """A running proxy. `requests()`: what it says it has answered, as (status, whether the node answered, line)."""

    def __init__(self, kind, node_address):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-proxy-")))
        try:
            self.tap = Tap(node_address)
            self.stack.callback(self.tap.close)
            self._start(kind)
        except BaseException:
            self.stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _start(self, kind):
        program = kind.split()[0]
        path = shutil.which(program, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
        if path is None:
            raise RuntimeError(f"{program} is not installed: ./dev deps")
        host, port = self.tap.address
        relaxed = "option accept-invalid-http-request" if "relaxed" in kind else ""
        text = (NGINX if program == "nginx" else HAPROXY).format(dir=self.folder, host=host, port=port, relaxed=relaxed)
        config = self.folder / "config"
        config.write_text(text)
        if program == "nginx":
            command, log = [path, "-p", str(self.folder), "-c", str(config)], "requests"
        else:
            command, log = [path, "-db", "-f", str(config)], "output"
        self.process = Process(command, self.folder / "output")
        self.stack.callback(self.process.stop)
        self.address = self.folder / "socket"
        self.log = self.folder / log
        self.read = 0
        await_that(self._serves, 10, program)
        await_that(self.requests, 10, f"the log of {program}")

    def _serves(self):
        if not self.process.is_running():
            raise RuntimeError(self.process.said())
        try:
            stream = connect(self.address)
        except OSError:
            return False
        with contextlib.closing(stream):
            stream.sendall(b"GET /livez HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            return stream.recv(65536)

    LINE = re.compile(rb'^(-?\d+) "([^"]*)" "(.*)"$')

    def requests(self):
        """What it has logged since the last begin_row()."""
        found = []
        if not self.log.exists():
            return found
        with self.log.open("rb") as log:
            log.seek(self.read)
            for line in log.read().split(b"\n")[:-1]:
                if match := self.LINE.match(line):
                    by_node = match[2] not in (b"-", b"", b"<NOSRV>")
                    found.append((int(match[1]), by_node, match[3].decode("latin-1")))
        return found

    def begin_row(self):
        self.read = self.log.stat().st_size if self.log.exists() else 0
        self.tap.answers = 0
