"""The HTTP side of the Hub on loopback: who may do what, and the routes that huggingface_hub 2.4 asks for."""

import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_files import Refused, info, serve_file, serve_lfs_batch, serve_lfs_object, serve_repository
from tests.hub_jobs import serve


def handler_of(hub):
    """The handler class that serves `hub`."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that waits until its headers are acknowledged: 0.05 s a request
    hub = None

    def _serve(self) -> None:
        self.hub.requests.append((self.command, self.path, "Authorization" in self.headers))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.hub.fault_of(self.command, self.path)
        self.cut = fault is not None and fault.status == 0
        try:
            if away := next((url for part, url in self.hub.redirects.items() if part in self.path), None):
                raise Refused(302, error="elsewhere", Location=away)
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
            self.answer({"error": refused.error, **getattr(refused, "more", {})}, refused.status, headers)

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
            return self.answer({"warnings": [], "errors": []})
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        if parts == ["api", "models"]:
            return self._list(query)
        if parts[:2] == ["api", "jobs"]:
            return serve(self, parts[2:], query, body)
        if parts[0] == "api" and parts[1] in ("models", "datasets", "spaces") and len(parts) >= 4:
            return serve_repository(self, self._place(parts[1:4]), parts[4:], body)
        if parts[0] == "lfs":
            return serve_lfs_object(self, parts[1:], body)
        parts = parts if parts[0] in ("datasets", "spaces") else ["models", *parts]
        if len(parts) > 5 and parts[2].endswith(".git"):
            return serve_lfs_batch(self, self._place([*parts[:2], parts[2][:-4]]), json.loads(body))
        if len(parts) > 5 and parts[3] == "resolve":
            return serve_file(self, self.readable(self._place(parts[:3])), parts[4], "/".join(parts[5:]))
        raise Refused(404, error="no such page")

    def _place(self, parts: list[str]) -> str:
        """The name of a repository among the hub's: a pushed data set's begins with datasets/, a Space's with spaces/."""
        name = "/".join(parts)
        return name if name in self.hub.repositories else name.partition("/")[2]

    def _whoami(self) -> None:
        if self.user is None:
            raise Refused(401, error="Invalid username or password.")
        name, role = self.user["name"], self.user["role"]
        orgs = [{"name": org} for org in self.user["orgs"]]
        token = {"displayName": "a token", "role": role}
        self.answer({"type": "user", "name": name, "fullname": name, "orgs": orgs, "auth": {"accessToken": token}})

    def readable(self, name: str):
        """The repository, as far as the user may read it: what is private to another does not exist."""
        found = self.hub.repositories.get(name)
        who = self.user["name"] if self.user else None
        if found is None or (found.private and not self._owns(name)):
            raise Refused(404 if who else 401, "RepoNotFound", "Repository not found")
        if found.gated and who not in {found.owner, *found.allowed}:
            raise Refused(403 if who else 401, "GatedRepo", f"Access to model {name} is restricted")
        return found

    def _owns(self, name: str) -> bool:
        owner = name.removeprefix("datasets/").removeprefix("spaces/").split("/")[0]
        return self.user is not None and (owner == self.user["name"] or owner in self.user["orgs"])

    def writable(self, name: str):
        found = self.readable(name)
        role = self.user["role"] if self.user else ""
        if not self._owns(name) or role == "read" or (role == "contribute" and name not in self.user["created"]):
            raise Refused(403, error="You don't have the required permissions to perform this action")
        return found

    def _create(self, wish: dict) -> None:
        if self.user is None:
            raise Refused(401, error="Invalid username or password.")
        folder = {"dataset": "datasets/", "space": "spaces/"}.get(wish.get("type"), "")
        name = f"{folder}{wish.get('organization') or self.user['name']}/{wish['name']}"
        url = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories and self._owns(name):
            refused = Refused(409, error="You already created this model repo")
            refused.more = url
            raise refused
        if not self._owns(name) or self.user["role"] == "read":
            raise Refused(403, error=f"You don't have the rights to create a model under the namespace {name}")
        self.hub.created.append(wish)
        self.hub.add(name, {}, private=wish.get("visibility") == "private")
        self.user["created"].add(name)
        self.answer(url)

    def _list(self, query: dict) -> None:
        wanted, author = set(query.get("filter", [])), query.get("author", [None])[0]
        search = query.get("search", [""])[0].lower()
        found = [
            repository
            for repository in self.hub.repositories.values()
            if not repository.name.startswith(("datasets/", "spaces/"))
            and (not repository.private or self._owns(repository.name))
            and wanted <= set(repository.tags())
            and author in (None, repository.owner)
            and search in repository.name.lower()
        ]
        found.sort(key=lambda repository: repository.changed, reverse=True)
        self.answer([info(one, one.commit) for one in found[: int(query.get("limit", ["100"])[0])]])

    def answer(self, value, status: int = 200, headers: dict | None = None) -> None:
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
