"""An OpenID provider on loopback, as the Hub is one for Spaces: authorize, token, keys. It says yes to whoever is `user`.

with OpenIdProvider(token="hf_...", user="alice") as provider: ... OPENID_PROVIDER_URL=provider.url
"""

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit


class OpenIdProvider:
    """Gives out `token` for `expires_in` seconds to a client that comes back with its code; `asked` keeps what it was asked."""

    def __init__(self, token: str, user: str, expires_in: int = 28800) -> None:
        from joserfc.jwk import RSAKey

        self.token, self.user, self.expires_in = token, user, expires_in
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict] = {}
        self.asked: list[dict] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "OpenIdProvider":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *details) -> None:
        self._server.shutdown()
        self._server.server_close()

    def id_token(self, asked: dict) -> str:
        """Who signed in, signed: what the app checks against `/jwks`."""
        from joserfc import jwt

        now = int(time.time())
        claims = {"iss": self.url, "aud": asked["client_id"], "sub": self.user, "iat": now, "exp": now + 600}
        claims |= {"nonce": asked.get("nonce"), "name": self.user, "preferred_username": self.user}
        claims |= {"profile": f"https://huggingface.co/{self.user}", "picture": ""}
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


def _handler_of(provider: OpenIdProvider):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/.well-known/openid-configuration":
                places = {
                    "authorization_endpoint": "/oauth/authorize",
                    "token_endpoint": "/oauth/token",
                    "jwks_uri": "/jwks",
                }
                facts = {name: provider.url + path for name, path in places.items()}
                self._json({"issuer": provider.url, "id_token_signing_alg_values_supported": ["RS256"], **facts})
            elif url.path == "/jwks":
                self._json({"keys": [provider.key.as_dict(private=False)]})
            elif url.path == "/oauth/authorize":
                asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                code = secrets.token_hex(8)
                provider.codes[code] = asked
                provider.asked.append(asked)
                self.send_response(302)
                mark = "&" if "?" in asked["redirect_uri"] else "?"
                answer = urlencode({"code": code, "state": asked["state"]})
                self.send_header("Location", f"{asked['redirect_uri']}{mark}{answer}")
                self.end_headers()
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked = provider.codes.pop(body["code"][0], None)
            if asked is None:
                return self._json({"error": "invalid_grant"}, 400)
            answer = {
                "access_token": provider.token,
                "token_type": "bearer",
                "expires_in": provider.expires_in,
                "scope": asked["scope"],
            }
            return self._json({**answer, "id_token": provider.id_token(asked)})

        def _json(self, value: dict, status: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *details) -> None:
            """Quiet."""

    return Handler
