"""A person or a program at the app's HTTP interface: cookies, an address of its own, events by their api_name."""

import json
import secrets
import time

import httpx

MAX_TRIES = 20
MAX_ANSWER_SECONDS = 60


class Refused(Exception):
    """The app answered with a sentence instead of doing what was asked."""


class Client:
    """Speaks to the app at `url` as somebody: a guest with a browser key, or the owner of a Hub token.

    `address` stands in X-Forwarded-For, as the proxy of a Space writes it.
    """

    def __init__(self, url: str, address: str, token: str | None = None) -> None:
        self.token = token
        self.http = httpx.Client(base_url=url, headers={"X-Forwarded-For": address}, timeout=httpx.Timeout(120))
        page = self.http.get("/").raise_for_status()
        # a cookie for https alone; the app of this play is reached without
        self.http.headers["Cookie"] = cookie = page.headers["set-cookie"].split(";")[0]
        self.key = cookie.partition("=")[2]  # page and program are then the same guest
        config = self.http.get("/config").raise_for_status().json()
        self.components = {one["id"]: one for one in config["components"]}
        self.endpoints = {one["api_name"]: one for one in config["dependencies"] if one["api_name"]}

    def call(self, name: str, given: dict | list) -> list:
        """Return the outputs of the event `name`, called with all inputs in order, or with some by label, the rest as they are.

        Raises Refused with the app's sentence, also when it stays too busy.
        """
        endpoint = self.endpoints[name]
        data = given if isinstance(given, list) else self.inputs_of(endpoint, dict(given))
        session = secrets.token_hex(8)
        body = {"data": data, "fn_index": endpoint["id"], "session_hash": session, "oauth_token": self.token}
        self.politely("POST", "/gradio_api/queue/join", json=body)
        deadline = time.monotonic() + MAX_ANSWER_SECONDS
        with self.http.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            if stream.status_code != 200:
                raise Refused(stream.read().decode()[:200])
            for line in stream.iter_lines():
                message = json.loads(line[6:]) if line.startswith("data: ") else {}
                if message.get("msg") == "process_completed":
                    if not message["success"]:
                        raise Refused(str(message["output"].get("error")))
                    return message["output"]["data"]
                if time.monotonic() > deadline:  # the app sends a sign of life every 15 seconds
                    raise Refused(f"no answer within {MAX_ANSWER_SECONDS} s")
        raise Refused("the stream ended without an answer")

    def inputs_of(self, endpoint: dict, by_label: dict) -> list:
        """Return what the page would send: the browser's key, what is given by label, and the value on the page else."""
        data = []
        for component in (self.components[number] for number in endpoint["inputs"]):
            value = self.key if component["type"] == "browserstate" else component["props"].get("value")
            data.append(by_label.pop(component["props"].get("label"), value))
        assert not by_label, f"{endpoint['api_name']} has no input {list(by_label)}"
        return data

    def politely(self, method: str, path: str, **facts) -> httpx.Response:
        """A request that waits and comes again when the app says that it is busy. Raises Refused for another refusal."""
        for _ in range(MAX_TRIES):
            answer = self.http.request(method, path, **facts)
            if answer.status_code not in (429, 503):
                break
            time.sleep(min(5.0, float(answer.headers.get("Retry-After", 1))))
        if answer.status_code != 200:
            raise Refused(f"{answer.status_code} {answer.text[:200]}")
        return answer

    def upload(self, name: str, content: bytes) -> dict:
        """Send a file as the page does; returns what an event takes as its value."""
        path = self.politely("POST", "/gradio_api/upload", files={"files": (name, content)}).json()[0]
        return {"path": path, "orig_name": name, "size": len(content), "meta": {"_type": "gradio.FileData"}}
