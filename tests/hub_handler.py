"""The HTTP side of the Hub on loopback: who may do what, and the routes that huggingface_hub 2.4 asks for."""

import base64
import hashlib
import json
import re
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_jobs import serve


class Refused(Exception):
    """An answer that is an error: the status, the Hub's error code, and words."""

    def __init__(self, status: int, code: str = "", error: str = "refused", **headers) -> None:
        super().__init__(error)
        self.status, self.code, self.error, self.headers = status, code, error, headers


def handler_of(hub):
    """The handler class that serves `hub`."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None

    def _serve(self) -> None:
        self.hub.requests.append((self.command, self.path, "Authorization" in self.headers))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.hub.fault_of(self.command, self.path)
        self.cut = fault is not None and fault.status == 0
        try:
            if fault and fault.status:
                raise Refused(fault.status, error=fault.error, **fault.headers)
            if self.cut and self.command != "GET":
                self.close_connection = True
                return
            self.user = self._user()
            self._route(urlsplit(self.path), body)
        except Refused as refused:
            headers = {"X-Error-Message": refused.error, **refused.headers}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self._json({"error": refused.error, **getattr(refused, "more", {})}, refused.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _user(self) -> dict | None:
        """The account of the token that came, None without one. A token that nobody has is refused."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        self.hub.seen_tokens.append(token)
        if token and token not in self.hub.tokens:
            raise Refused(401, error="Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

    def _route(self, url, body: bytes) -> None:
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = parse_qs(url.query)
        if parts == ["api", "whoami-v2"]:
            return self._whoami()
        if parts == ["api", "validate-yaml"]:
            return self._json({"warnings": [], "errors": []})
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        if parts == ["api", "models"]:
            return self._list(query)
        if parts[:2] == ["api", "jobs"]:
            return serve(self, parts[2:], query, body)
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self._api("/".join(parts[2:4]), parts[4:], body)
        if parts[0] == "lfs":
            return self._lfs_object(parts[1:], body)
        if len(parts) > 4 and parts[1].endswith(".git"):
            return self._lfs_batch(f"{parts[0]}/{parts[1][:-4]}", json.loads(body))
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file(self._readable("/".join(parts[:2])), parts[3], "/".join(parts[4:]))
        raise Refused(404, error="no such page")

    def _whoami(self) -> None:
        if self.user is None:
            raise Refused(401, error="Invalid username or password.")
        name, role = self.user["name"], self.user["role"]
        orgs = [{"name": org} for org in self.user["orgs"]]
        token = {"displayName": "a token", "role": role}
        self._json({"type": "user", "name": name, "fullname": name, "orgs": orgs, "auth": {"accessToken": token}})

    def _readable(self, name: str):
        """The repository, as far as the user may read it: what is private to another does not exist."""
        found = self.hub.repositories.get(name)
        who = self.user["name"] if self.user else None
        if found is None or (found.private and not self._owns(name)):
            raise Refused(404 if who else 401, "RepoNotFound", "Repository not found")
        if found.gated and who not in {found.owner, *found.allowed}:
            raise Refused(403 if who else 401, "GatedRepo", f"Access to model {name} is restricted")
        return found

    def _owns(self, name: str) -> bool:
        owner = name.split("/")[0]
        return self.user is not None and (owner == self.user["name"] or owner in self.user["orgs"])

    def _writable(self, name: str):
        found = self._readable(name)
        role = self.user["role"] if self.user else ""
        if not self._owns(name) or role == "read" or (role == "contribute" and name not in self.user["created"]):
            raise Refused(403, error="You don't have the required permissions to perform this action")
        return found

    def _create(self, wish: dict) -> None:
        if self.user is None:
            raise Refused(401, error="Invalid username or password.")
        name = f"{wish.get('organization') or self.user['name']}/{wish['name']}"
        url = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories and self._owns(name):
            refused = Refused(409, error="You already created this model repo")
            refused.more = url
            raise refused
        if not self._owns(name) or self.user["role"] == "read":
            raise Refused(403, error=f"You don't have the rights to create a model under the namespace {name}")
        self.hub.add(name, {}, private=wish.get("visibility") == "private")
        self.user["created"].add(name)
        self._json(url)

    def _list(self, query: dict) -> None:
        wanted, author = set(query.get("filter", [])), query.get("author", [None])[0]
        search = query.get("search", [""])[0].lower()
        found = [
            repository
            for repository in self.hub.repositories.values()
            if (not repository.private or self._owns(repository.name))
            and wanted <= set(repository.tags())
            and author in (None, repository.owner)
            and search in repository.name.lower()
        ]
        found.sort(key=lambda repository: repository.changed, reverse=True)
        self._json([self._info(one, one.commit) for one in found[: int(query.get("limit", ["100"])[0])]])

    def _api(self, name: str, rest: list[str], body: bytes) -> None:
        """What is asked of one repository."""
        job = rest[0] if rest else "info"
        if job in ("commit", "preupload") or rest[:2] == ["auth-check", "write"]:
            found = self._writable(name)
        else:
            found = self._readable(name)
        if job == "auth-check":
            return self._json({})
        commit = found.resolve(rest[1]) if len(rest) > 1 else found.commit
        if commit is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
        if job in ("info", "revision"):
            return self._json(self._info(found, commit))
        if job == "tree":
            return self._json(self._tree(found, commit, "/".join(rest[2:])))
        if job == "preupload":
            return self._json({"files": [self._mode(found, file) for file in json.loads(body)["files"]]})
        if job == "commit":
            return self._commit(found, body)
        raise Refused(404, error="no such page")

    def _info(self, found, commit: str) -> dict:
        files = [
            {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]} | _lfs(entry)
            for path, entry in self._entries(found, commit).items()
        ]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.changed))
        facts = {"private": found.private, "gated": "manual" if found.gated else False, "tags": found.tags()}
        return {
            "id": found.name,
            "modelId": found.name,
            "author": found.owner,
            "sha": commit,
            "siblings": files,
            "lastModified": stamp,
            "createdAt": stamp,
            "downloads": 0,
            "likes": 0,
            "disabled": False,
            **facts,
        }

    def _entries(self, found, commit: str) -> dict[str, dict]:
        entries = {}
        for path in sorted(found.snapshots[commit]):
            content = found.content(path, commit)
            entries[path] = {"type": "file", "oid": git_oid(content), "size": len(content), "path": path}
            if path in found.lfs:
                digest = hashlib.sha256(content).hexdigest()
                entries[path]["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
        return entries

    def _tree(self, found, commit: str, folder: str) -> list[dict]:
        entries = self._entries(found, commit)
        inside = [entry for path, entry in entries.items() if not folder or path.startswith(f"{folder}/")]
        if folder and not inside:
            raise Refused(404, "EntryNotFound", f"{folder} does not exist")
        return inside

    def _mode(self, found, file: dict) -> dict:
        mode = "lfs" if re.search(self.hub.lfs, file["path"]) else "regular"
        entry = self._entries(found, found.commit).get(file["path"], {})
        oid = entry.get("lfs", entry).get("oid")
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False} | ({"oid": oid} if oid else {})

    def _commit(self, found, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent and parent != found.commit:
            raise Refused(412, error="A commit has happened since. Please refresh and try again.")
        self.hub.bodies.append(body)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                found.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                found.files[value["path"]] = self.hub.objects[value["oid"]]
                found.lfs.add(value["path"])
            elif line["key"] == "deletedFile":
                found.files.pop(value["path"], None)
        oid = found.record()
        self._json({"commitOid": oid, "commitUrl": f"{self.hub.url}/{found.name}/commit/{oid}", "success": True})

    def _lfs_batch(self, name: str, wish: dict) -> None:
        self._writable(name)
        answers = []
        for wanted in wish["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                href = f"{self.hub.url}/lfs/{wanted['oid']}"
                verify = {"href": f"{self.hub.url}/lfs/verify", "header": {}}
                answer["actions"] = {"upload": {"href": href, "header": {}}, "verify": verify}
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    def _lfs_object(self, parts: list[str], body: bytes) -> None:
        if parts == ["verify"]:
            wish = json.loads(body)
            stored = self.hub.objects.get(wish["oid"])
            if stored is None or len(stored) != wish["size"]:
                raise Refused(404, error="not uploaded")
            return self._json({})
        if hashlib.sha256(body).hexdigest() != parts[0]:
            raise Refused(400, error="this is not the object")
        self.hub.objects[parts[0]] = body
        self._json({})

    def _file(self, found, revision: str, path: str) -> None:
        commit = found.resolve(revision)
        if commit is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        content = found.content(path, commit)
        if content is None:
            raise Refused(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        entry = self._entries(found, commit)[path]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{entry.get("lfs", entry)["oid"]}"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self._send(content[start : start + len(content) // 3] if self.cut else content[start:])
            self.close_connection = self.cut

    def _send(self, content: bytes) -> None:
        try:
            for offset in range(0, len(content), 65536):
                self.wfile.write(content[offset : offset + 65536])
                time.sleep(self.hub.delay)
        except ConnectionError:
            pass  # the client went away, as clients do

    def _json(self, value, status: int = 200, headers: dict | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, word in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, word)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *details) -> None:
        """Quiet: `hub.requests` has it all."""


def git_oid(content: bytes) -> str:
    """The git object id of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _lfs(entry: dict) -> dict:
    return {"lfs": entry["lfs"]} if "lfs" in entry else {}
