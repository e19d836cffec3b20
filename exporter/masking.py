"""How a secret is taken out of a text, and what of the text stays. Pure."""

import re

MASK = "***"
OWN_WORDS = frozenset(
    {
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
"""Words that stand in messages by themselves, the names of settings among them: it is no secret that they do."""
_WORD = re.compile(r"\w+", re.ASCII)
_BEFORE_VALUE = re.compile(r"(?:[=:]\s?|[\"'`(@/]|\b(?:bearer|basic) )\Z", re.IGNORECASE)
_AFTER_NAME = re.compile(r"[\"'`]?\s*[=:]")


def hide(text: str, secret: str) -> str:
    """Return ``text`` with a mask for each place where ``secret`` stands.

    Somebody may have chosen ``secret``, ``password`` or ``client`` as a secret. A mask for each such word, as in
    ``check client_***``, would make advice unreadable and give the secret away. So one of :data:`OWN_WORDS` stays where
    it stands as a word: all of it where the secret is a part of it, else wherever it cannot be a value, which is
    after ``=`` or ``:``, in quotes, or in an address.
    """
    if not any(secret in word for word in OWN_WORDS):
        return text.replace(secret, MASK)
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
        return secret

    return re.sub(re.escape(secret), shown, text)
