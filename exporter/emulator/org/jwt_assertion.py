"""The JWT bearer flow: whether an assertion is signed by the app, for this org, and not too old."""

from datetime import datetime
from typing import Any

from exporter.emulator.http import RefusalError

LONGEST_SECONDS = 5 * 60
"""How far ahead an assertion may set its end: help article on the OAuth 2.0 JWT bearer flow."""
_SALESFORCE = ("https://login.salesforce.com", "https://test.salesforce.com")


def check_assertion(token: str, *, key: str, client_id: str, username: str, url: str, now: datetime) -> None:
    """Check an assertion signed with RS256; ``key`` is the app's public key in PEM, empty if it has none.

    Raises RefusalError as the token endpoint words it.
    """
    import jwt  # noqa: PLC0415 - it comes with simple-salesforce, takes long to import and is seldom needed

    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
    except jwt.InvalidTokenError as error:
        raise RefusalError(400, "invalid_grant", "invalid assertion") from error
    if claims.get("iss") != client_id:
        raise RefusalError(400, "invalid_client_id", "client identifier invalid")
    if not key or claims.get("sub") != username:
        raise RefusalError(400, "invalid_grant", "user hasn't approved this consumer")
    try:
        jwt.decode(token, key, algorithms=["RS256"], options={"verify_aud": False, "verify_exp": False})
    except jwt.InvalidTokenError as error:
        raise RefusalError(400, "invalid_grant", "invalid assertion") from error
    if claims.get("aud") not in {*_SALESFORCE, url}:
        raise RefusalError(400, "invalid_grant", "Audience validation failed")
    try:
        left = float(claims["exp"]) - now.timestamp()
    except (KeyError, TypeError, ValueError) as error:
        raise RefusalError(400, "invalid_grant", "invalid assertion") from error
    if not 0 < left <= LONGEST_SECONDS:
        raise RefusalError(400, "invalid_grant", "expired authorization code" if left <= 0 else "invalid assertion")
