"""OAuth: who may come in by which grant, and how they are told that they may not."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlencode

from exporter.emulator.http import RefusalError, Reply, Request, Route, reply_json
from exporter.emulator.org.grants import Grant, Grants
from exporter.emulator.org.jwt_assertion import check_assertion
from exporter.emulator.org.org import USER_ID, Org

GRANT_ERROR = 400
_NO_ACCESS: Mapping[str, tuple[str, str, str]] = {
    "not_installed": (
        "app_not_found",
        "OAUTH_EC_APP_NOT_FOUND",
        "External client app is not installed in this org",
    ),
    "blocked": ("OAUTH_APP_BLOCKED", "OAUTH_APP_BLOCKED", "this app is blocked by admin"),
    "not_approved": (
        "invalid_app_access",
        "OAUTH_APP_ACCESS_DENIED",
        "user is not admin approved to access this app",
    ),
}
"""By ``app_access``: what the token endpoint and the web flow answer, and the description of both."""
_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class OAuth:
    """``/services/oauth2``. Error codes are those of the help page on OAuth error codes."""

    def __init__(self, org: Org, grants: Grants) -> None:
        self._org = org
        self._grants = grants
        self._flows: Mapping[str, Callable[[Request, Mapping[str, str]], Reply]] = {
            "client_credentials": self._client_credentials,
            "authorization_code": self._code,
            "refresh_token": self._refresh,
            "password": self._password,
            _JWT: self._assertion,
        }

    def routes(self) -> Iterable[Route]:
        """Return the paths of the login."""
        root = "/services/oauth2"
        yield Route(method="POST", path=f"{root}/token", handler=self._token, needs_login=False)
        for method in ("GET", "POST"):
            yield Route(method=method, path=f"{root}/authorize", handler=self._authorize, needs_login=False)
            yield Route(method=method, path=f"{root}/revoke", handler=self._revoke, needs_login=False)

    def _token(self, request: Request, _names: Mapping[str, str]) -> Reply:
        form = request.form()
        flow = self._flows.get(form.get("grant_type", ""))
        if flow is None:
            raise RefusalError(GRANT_ERROR, "unsupported_grant_type", "grant type not supported")
        if (refusal := _NO_ACCESS.get(self._org.rights.app_access)) is not None:
            raise RefusalError(GRANT_ERROR, refusal[0], refusal[2])
        return flow(request, form)

    def _client_credentials(self, request: Request, form: Mapping[str, str]) -> Reply:
        self._check_client(request, form)
        if not self._org.rights.run_as_user:
            raise RefusalError(GRANT_ERROR, "invalid_grant", "no client credentials user enabled")
        return self._welcome()

    def _authorize(self, request: Request, _names: Mapping[str, str]) -> Reply:
        """Send the browser back with a code at once: the emulator's user agrees to everything, unless told not to."""
        form = {**request.query, **(request.form() if request.method == "POST" else {})}
        if form.get("response_type") != "code":
            raise RefusalError(GRANT_ERROR, "unsupported_response_type", "response type not supported")
        if form.get("client_id") != self._org.rights.client_id:
            raise RefusalError(GRANT_ERROR, "invalid_client_id", "client identifier invalid")
        address = form.get("redirect_uri", "")
        if not address:
            raise RefusalError(GRANT_ERROR, "redirect_uri_missing", "redirect_uri is not provided")
        challenge = form.get("code_challenge", "")
        if form.get("code_challenge_method", "S256") != "S256" or (self._org.rights.pkce_needed and not challenge):
            raise RefusalError(GRANT_ERROR, "invalid_request", "missing required code challenge")
        if (refusal := _NO_ACCESS.get(self._org.rights.app_access)) is not None:
            answer = {"error": refusal[1], "error_description": refusal[2]}
        elif self._org.rights.user_approves:
            answer = {"code": self._grants.add_code(Grant(redirect_uri=address, challenge=challenge))}
        else:
            answer = {"error": "access_denied", "error_description": "end-user denied authorization"}
        if "state" in form:
            answer["state"] = form["state"]
        joint = "&" if "?" in address else "?"
        return Reply(status=302, headers={"Location": f"{address}{joint}{urlencode(answer)}"})

    def _code(self, request: Request, form: Mapping[str, str]) -> Reply:
        """Redeem a code. An app that proves itself by PKCE needs no secret, nor does then its refresh token."""
        public = "code_verifier" in form and not _secret_given(request, form)
        self._check_client(request, form, public=public)
        grant = self._grants.redeem_code(form.get("code", ""))
        if form.get("redirect_uri", "") != grant.redirect_uri:
            raise RefusalError(GRANT_ERROR, "redirect_uri_mismatch", "redirect_uri must match configuration")
        if not grant.is_answered_by(form.get("code_verifier", "")) or (public and not grant.challenge):
            raise RefusalError(GRANT_ERROR, "invalid_grant", "invalid code verifier")
        return self._welcome(refresh_token=self._grants.add_refresh(Grant(public=public)))

    def _refresh(self, request: Request, form: Mapping[str, str]) -> Reply:
        token = form.get("refresh_token", "")
        grant = self._grants.find_refresh(token)
        self._check_client(request, form, public=grant.public and not _secret_given(request, form))
        successor = self._grants.use_refresh(token, rotate=self._org.rights.rotate_refresh_tokens)
        return self._welcome(**({"refresh_token": successor} if successor else {}))

    def _password(self, request: Request, form: Mapping[str, str]) -> Reply:
        self._check_client(request, form)
        if not self._org.rights.admits(form.get("username", ""), form.get("password", "")):
            raise RefusalError(GRANT_ERROR, "invalid_grant", "authentication failure")
        return self._welcome()

    def _assertion(self, _request: Request, form: Mapping[str, str]) -> Reply:
        rights = self._org.rights
        check_assertion(
            form.get("assertion", ""),
            key=rights.jwt_key,
            client_id=rights.client_id,
            username=rights.username,
            url=self._org.url,
            now=self._org.clock(),
        )
        return self._welcome()

    def _revoke(self, request: Request, _names: Mapping[str, str]) -> Reply:
        """End a refresh token, or with an access token all sessions: they are the user's, not the app's."""
        token = {**request.query, **request.form()}.get("token", "")
        if self._grants.revoke(token):
            return Reply()
        if not self._org.session_alive(token):
            raise RefusalError(GRANT_ERROR, "invalid_token", "token invalid or expired")
        self._org.expire_sessions()
        return Reply()

    def _check_client(self, request: Request, form: Mapping[str, str], *, public: bool = False) -> None:
        """Check id and secret, from the form or from a basic authorization; a ``public`` app has no secret."""
        given = _basic(request) or (form.get("client_id", ""), form.get("client_secret", ""))
        if given[0] != self._org.rights.client_id:
            raise RefusalError(GRANT_ERROR, "invalid_client_id", "client identifier invalid")
        if not public and not hmac.compare_digest(given[1].encode(), self._org.rights.client_secret.encode()):
            raise RefusalError(GRANT_ERROR, "invalid_client", "invalid client credentials")

    def _welcome(self, **others: str) -> Reply:
        token = self._org.open_session("access")
        issued = str(int(self._org.now() * 1000))
        identity = f"{self._org.url}/id/{self._org.org_id}/{USER_ID}"
        key = self._org.rights.client_secret.encode()
        signature = hmac.new(key, (identity + issued).encode(), hashlib.sha256).digest()
        return reply_json(
            {
                "access_token": token,
                "signature": base64.b64encode(signature).decode(),
                "scope": "refresh_token api" if others else "api",
                "instance_url": self._org.url,
                "id": identity,
                "token_type": "Bearer",
                "issued_at": issued,
                **others,
            }
        )


def _secret_given(request: Request, form: Mapping[str, str]) -> bool:
    return bool(form.get("client_secret")) or _basic(request) is not None


def _basic(request: Request) -> tuple[str, str] | None:
    """Return the user and the password of a basic authorization."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password
