"""The repositories of the Hub on loopback over HTTP: what is in them, commits, large files (LFS), downloads."""

import base64
import hashlib
import json
import re
import time
from urllib.parse import parse_qs


class Refused(Exception):
    """An answer that is an error: the status, the Hub's error code, and words."""

    def __init__(self, status: int, code: str = "", error: str = "refused", **headers) -> None:
        super().__init__(error)
        self.status, self.code, self.error, self.headers = status, code, error, headers


def serve_repository(handler, name: str, rest: list[str], body: bytes) -> None:
    """What is asked of one repository."""
    job = rest[0] if rest else "info"
    if job in ("commit", "preupload", "super-squash", "lfs-files") or rest[:2] == ["auth-check", "write"]:
        found = handler.writable(name)
    else:
        found = handler.readable(name)
    if job == "auth-check":
        return handler.answer({})
    if job == "lfs-files":
        return _large_files(handler, found, json.loads(body) if body else None)
    commit = found.resolve(rest[1]) if len(rest) > 1 else found.commit
    if commit is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
    if job in ("info", "revision"):
        return handler.answer(info(found, commit))
    if job == "tree":
        return handler.answer(_tree(found, commit, "/".join(rest[2:])))
    if job == "paths-info":
        wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
        entries = _entries(found, commit)
        return handler.answer([entries[path] for path in wanted if path in entries])
    if job == "preupload":
        return handler.answer({"files": [_mode(handler, found, file) for file in json.loads(body)["files"]]})
    if job == "commit":
        return _commit(handler, found, body)
    if job == "super-squash":
        return _squash(handler, found)
    raise Refused(404, error="no such page")


def info(found, commit: str) -> dict:
    files = [
        {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]} | _lfs(entry)
        for path, entry in _entries(found, commit).items()
    ]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.changed))
    facts = {"private": found.private, "gated": "manual" if found.gated else False, "tags": found.tags()}
    return {
        "id": found.id,
        "modelId": found.id,
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


def _entries(found, commit: str) -> dict[str, dict]:
    entries = {}
    for path in sorted(found.snapshots[commit]):
        content = found.content(path, commit)
        entries[path] = {"type": "file", "oid": git_oid(content), "size": len(content), "path": path}
        if path in found.lfs:
            digest = hashlib.sha256(content).hexdigest()
            entries[path]["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
    return entries


def _tree(found, commit: str, folder: str) -> list[dict]:
    entries = _entries(found, commit)
    inside = [entry for path, entry in entries.items() if not folder or path.startswith(f"{folder}/")]
    if folder and not inside:
        raise Refused(404, "EntryNotFound", f"{folder} does not exist")
    return inside


def _mode(handler, found, file: dict) -> dict:
    mode = "lfs" if re.search(handler.hub.lfs, file["path"]) else "regular"
    entry = _entries(found, found.commit).get(file["path"], {})
    oid = entry.get("lfs", entry).get("oid")
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False} | ({"oid": oid} if oid else {})


def _commit(handler, found, body: bytes) -> None:
    lines = [json.loads(line) for line in body.splitlines()]
    parent = lines[0]["value"].get("parentCommit")
    if parent and parent != found.commit:
        raise Refused(412, error="A commit has happened since. Please refresh and try again.")
    handler.hub.bodies.append(body)
    for line in lines[1:]:
        value = line["value"]
        if line["key"] == "file":
            found.files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            found.files[value["path"]] = handler.hub.objects[value["oid"]]
            found.lfs.add(value["path"])
            found.stored[value["oid"]] = value["path"]
        elif line["key"] == "deletedFile":
            found.files.pop(value["path"], None)
    oid = found.record()
    handler.answer({"commitOid": oid, "commitUrl": f"{handler.hub.url}/{found.name}/commit/{oid}", "success": True})


def _squash(handler, found) -> None:
    """All commits become one; those before can be had no longer."""
    found.history.clear()
    found.snapshots.clear()
    found.record()
    handler.answer({})


def _large_files(handler, found, wish: dict | None) -> None:
    """List the large files that any commit had, or delete those of `wish` for good."""
    for digest in wish["deletions"]["sha"] if wish else []:
        del found.stored[digest], handler.hub.objects[digest]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(found.changed))
    facts = {"pushedAt": stamp, "size": 1}
    files = [{"fileOid": oid, "oid": oid, "filename": path, **facts} for oid, path in found.stored.items()]
    handler.answer({} if wish else files)


def serve_lfs_batch(handler, name: str, wish: dict) -> None:
    handler.writable(name)
    answers = []
    for wanted in wish["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in handler.hub.objects:
            href = f"{handler.hub.url}/lfs/{wanted['oid']}"
            verify = {"href": f"{handler.hub.url}/lfs/verify", "header": {}}
            answer["actions"] = {"upload": {"href": href, "header": {}}, "verify": verify}
        answers.append(answer)
    handler.answer({"transfer": "basic", "objects": answers})


def serve_lfs_object(handler, parts: list[str], body: bytes) -> None:
    if parts == ["verify"]:
        wish = json.loads(body)
        stored = handler.hub.objects.get(wish["oid"])
        if stored is None or len(stored) != wish["size"]:
            raise Refused(404, error="not uploaded")
        return handler.answer({})
    if hashlib.sha256(body).hexdigest() != parts[0]:
        raise Refused(400, error="this is not the object")
    handler.hub.objects[parts[0]] = body
    handler.answer({})


def serve_file(handler, found, revision: str, path: str) -> None:
    commit = found.resolve(revision)
    if commit is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    content = found.content(path, commit)
    if content is None:
        raise Refused(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
    content = handler.hub.lies.get(path, content)
    start = int(handler.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
    entry = _entries(found, commit)[path]
    handler.send_response(206 if start else 200)
    handler.send_header("X-Repo-Commit", commit)
    handler.send_header("ETag", f'"{entry.get("lfs", entry)["oid"]}"')
    handler.send_header("Content-Length", str(len(content) - start))
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    if handler.command == "GET":
        _send(handler, content[start : start + len(content) // 3] if handler.cut else content[start:])
        handler.close_connection = handler.cut


def _send(handler, content: bytes) -> None:
    try:
        for offset in range(0, len(content), 65536):
            handler.wfile.write(content[offset : offset + 65536])
            time.sleep(handler.hub.delay)
    except ConnectionError:
        pass  # the client went away, as clients do


def git_oid(content: bytes) -> str:
    """The git object id of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _lfs(entry: dict) -> dict:
    return {"lfs": entry["lfs"]} if "lfs" in entry else {}
