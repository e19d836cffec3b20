"""How a secret is taken out of a text, and what of the text stays. Pure."""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
OWN_WORDS = frozenset(
    {
        *("accepted", "attempt", "code", "event", "kind", "level", "logger"),
        *("outcome", "rejected", "rows", "timestamp"),
        *("account", "address", "admin", "administrator", "app", "audience", "auth"),
        *("bearer", "catalog", "certificate", "check", "client", "client_id", "client_secret"),
        *("connection", "connections", "consumer", "credential", "credentials", "daemon", "database"),
        *("default", "driver", "emulator", "endpoint", "engine", "export", "failed"),
        *("flow", "grant", "host", "id", "invalid", "invalid_client", "invalid_grant"),
        *("jdbc", "job", "jwt", "key", "keyring", "localhost", "login"),
        *("login_url", "message", "name", "object", "org", "password", "passwords"),
        *("permission", "policy", "port", "postgres", "postgresql", "private", "private_key"),
        *("project", "proxy", "public", "query", "read", "run", "salesforce"),
        *("schedctl", "schema", "scope", "scopes", "secret", "secrets", "security"),
        *("security_token", "server", "service", "session", "session_id", "set", "source"),
        *("ssl", "target", "test", "token", "token_file", "type", "uri"),
        *("url", "user", "username", "users", "warehouse"),
    }
)
"""Words that stand in messages by themselves, names of settings and log fields too: it is no secret that they do."""
_WORD = re.compile(r"\w+", re.ASCII)
_MIN_BASE64 = 7
"""Fewer letters of base64 may stand in any other."""
_ESCAPED_TOO = ("&<>", "&<>='")
"""What writers of JSON escape although they need not: that of Go, and that of Java's Gson."""
_BEFORE_VALUE = re.compile(r"(?:[=:]\s?|[\"'`(@/]|\b(?:bearer|basic) )\Z", re.IGNORECASE)
_AFTER_NAME = re.compile(r"[\"'`]?\s*[=:]")


def hide(text: str, forms: Iterable[str]) -> str:
    """Return ``text`` with a mask for each place where one of ``forms`` stands, the longest first, in capitals or not.

    ``forms`` are what :func:`written_forms` returns of one or more secrets. A secret that is a common word stays where
    it is no value. Somebody may have chosen ``secret``, ``password`` or ``client`` as a secret. A mask for each such
    word, as in ``check client_***``, would make advice unreadable and give the secret away. So one of
    :data:`OWN_WORDS` stays where it stands as a word: all of it where the secret is a part of it, else wherever it
    cannot be a value, which is after ``=`` or ``:``, in quotes, or in an address.
    """
    lower = text.lower()
    for form in sorted({form for form in forms if form.lower() in lower}, key=len, reverse=True):
        text = _hide(text, form)
    return text


def _hide(text: str, secret: str) -> str:
    pattern = re.compile(re.escape(secret), re.IGNORECASE)
    if not any(secret.lower() in word for word in OWN_WORDS):
        return pattern.sub(MASK, text)
    words = ((found.start(), found.end()) for found in _WORD.finditer(text))
    own = [(start, end) for start, end in words if text[start:end].lower() in OWN_WORDS]

    def shown(found: re.Match[str]) -> str:
        start, end = found.span()
        around = next(((a, b) for a, b in own if a <= start and end <= b), None)
        if around is None:
            return MASK
        if around == (start, end):
            named = _AFTER_NAME.match(text, end) is not None
            if not named and _BEFORE_VALUE.search(text, max(0, start - 8), start):
                return MASK
        return found.group()

    return pattern.sub(shown, text)


def written_forms(secret: str) -> tuple[str, ...]:
    """Return how a secret may be written: in code, in JSON, in a URL, in HTML, and in base64 behind whatever else."""
    in_json = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    in_json += [
        "".join(f"\\u{ord(each):04x}" if each in escaped else each for each in form)
        for escaped in _ESCAPED_TOO
        for form in in_json
    ]
    in_url = [quote(secret, safe=""), quote(secret), quote_plus(secret), quote(quote(secret, safe=""), safe="")]
    in_html = [html.escape(secret, quote=False), html.escape(secret)]
    in_html += [in_html[1].replace("&#x27;", each) for each in ("&#39;", "&apos;", "'")]
    return tuple({secret, repr(secret)[1:-1], *in_json, *in_url, *in_html, *_in_base64(secret)})


def _in_base64(secret: str) -> Iterator[str]:
    """Yield the letters that base64 has for a secret, alone or in a longer text, such as ``USER:SECRET`` of a header.

    Three bytes make four letters, so that there are three ways to begin; letters that other bytes have a part in are
    left out.
    """
    data = secret.encode("utf-8", "surrogateescape")
    for offset in range(3):
        bits = 8 * (offset + len(data))
        first, end = -(-8 * offset // 6), bits // 6
        for encode in (b64encode, urlsafe_b64encode):
            form = encode(bytes(offset) + data).decode()[first:end]
            if len(form) >= _MIN_BASE64:
                yield form
