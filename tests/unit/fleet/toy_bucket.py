"""An S3 server of four verbs on loopback, for the real boto3: put, get, head and list, in memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_PAGE = 2


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Its address; one bucket of any name."""
    objects: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            objects[self._key()] = self._body()
            self._answer(200, b"")

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query:
                self._answer(200, _listing(objects, query).encode())
            elif (found := objects.get(self._key())) is None:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                self._answer(200, found)

        def do_HEAD(self) -> None:
            found = objects.get(self._key())
            self._answer(404 if found is None else 200, found or b"", head=True)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).split("/", 2)[2]

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") != "chunked" and "aws-chunked" not in self.headers.get(
                "Content-Encoding", ""
            ):
                return self.rfile.read(int(self.headers["Content-Length"]))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers: the checksum
            return body

        def _answer(self, status: int, body: bytes, *, head: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not head:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _listing(objects: dict[str, bytes], query: dict[str, list[str]]) -> str:
    start = int(query.get("continuation-token", ["0"])[0])
    keys = sorted(key for key in objects if key.startswith(query.get("prefix", [""])[0]))
    page, more = keys[start : start + _PAGE], start + _PAGE < len(keys)
    rows = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size></Contents>" for key in page)
    token = f"<NextContinuationToken>{start + _PAGE}</NextContinuationToken>" if more else ""
    return (f'<?xml version="1.0"?><ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}'
            "</ListBucketResult>")
