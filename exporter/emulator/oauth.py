"""The token endpoint: who may come in, and how they are told that they may not."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from exporter.emulator.org import ORG_ID, USER_ID, Org
from exporter.emulator.wire import RefusalError, Reply, Request, Route, reply_json

GRANT_ERROR = 400


class OAuth:
    """``/services/oauth2``. Error codes are those of the help page on OAuth error codes."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def routes(self) -> Iterable[Route]:
        """Return the paths of the login."""
        yield Route(method="POST", path="/services/oauth2/token", handler=self._token, needs_login=False)

    def _token(self, request: Request, _names: Mapping[str, str]) -> Reply:
        form = request.form()
        grants = {"client_credentials": self._client_credentials}
        grant = grants.get(form.get("grant_type", ""))
        if grant is None:
            raise RefusalError(GRANT_ERROR, "unsupported_grant_type", "grant type not supported")
        return grant(request, form)

    def _client_credentials(self, request: Request, form: Mapping[str, str]) -> Reply:
        self._check_client(request, form)
        return self._welcome()

    def _check_client(self, request: Request, form: Mapping[str, str]) -> None:
        """Check id and secret, from the form or from a basic authorization."""
        given = _basic(request.headers.get("authorization", "")) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        if given[0] != self._org.rights.client_id:
            raise RefusalError(GRANT_ERROR, "invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(given[1].encode(), self._org.rights.client_secret.encode()):
            raise RefusalError(GRANT_ERROR, "invalid_client", "invalid client credentials")

    def _welcome(self) -> Reply:
        token = self._org.open_session("access")
        issued = str(int(self._org.now() * 1000))
        identity = f"{self._org.url}/id/{ORG_ID}/{USER_ID}"
        key = self._org.rights.client_secret.encode()
        signature = hmac.new(key, (identity + issued).encode(), hashlib.sha256).digest()
        return reply_json(
            {
                "access_token": token,
                "signature": base64.b64encode(signature).decode(),
                "scope": "api",
                "instance_url": self._org.url,
                "id": identity,
                "token_type": "Bearer",
                "issued_at": issued,
            }
        )


def _basic(authorization: str) -> tuple[str, str] | None:
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password
