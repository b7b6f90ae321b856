"""As much of the Hugging Face hub's protocol as pushing and fetching a model takes: repositories in memory, one commit each."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

LARGE = (".safetensors", ".bin")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Files are sent inside the commit, as the hub asks for with the upload mode `regular`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, content: object) -> None:
        self.reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def do_GET(self):
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        key = (repository, rest.partition("/")[2])
        content = self.server.files.get(key)
        if content is None:
            known = any(repository == name for name, _ in self.server.files)
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})
            return
        if key[1].endswith(LARGE):  # named by its SHA-256, as the hub does with large files
            headers = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
        else:
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        headers |= {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.command == "GET":
            content = self.server.sent_instead.pop(key, content)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if self.command == "GET":
            self.server.got.append((*key, start))
        if self.command == "GET" and self.server.cuts.get(key, 0) > 0:
            self.server.cuts[key] -= 1
            self.cut(content, start, headers)
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.reply(206 if start else 200, content[start:], headers)

    def cut(self, content: bytes, start: int, headers: dict[str, str]) -> None:
        """Send the first half of a file, as far as it was not sent before, and hang up."""
        self.send_response(206 if start else 200)
        if start:
            headers = {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        for name, value in {"Content-Length": str(len(content) - start), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2])
        self.close_connection = True

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = f"http://{self.headers['Host']}"
        if "authorization" not in self.headers:
            self.reply(401, b"{}", {})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            self.server.created.append(asked)
            self.json({"url": f"{address}/{asked.get('organization', 'me')}/{asked['name']}"})
        elif self.path == "/api/validate-yaml":
            self.json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [entry["path"] for entry in json.loads(body)["files"]]
            self.json({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        else:
            repository = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[repository, line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.json({"commitUrl": f"{address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT})


@contextmanager
def fake_hub() -> Iterator[ThreadingHTTPServer]:
    """A server on a free port of this machine.

    `.files` by repository and name, `.created` repositories, `.got`: files that were asked for, and from which byte on;
    `.cuts`: how often a file's download breaks off, `.sent_instead`: content that is sent once, other than the hub says.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.created, server.got, server.cuts, server.sent_instead = {}, [], [], {}, {}
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
