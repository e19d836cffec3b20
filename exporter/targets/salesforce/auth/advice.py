"""What to do about a refused login, by the login that was refused: one code means another thing with each. Pure.

The table of codes (:mod:`~exporter.targets.salesforce.http.error_codes`) speaks of client credentials; what differs is
here.
"""

WEB_FLOW = "web flow"
"""The login of a person in a browser, from which an ``oauth`` connection gets its refresh token."""

_KEY_ONLY = "check client_id: it is the consumer key of the app"
_AGAIN = "run {command}"
_APP = "check client_id, and client_secret, which the app may or may not ask for"
_NEW_CODE = "run {command} again: a code is good once, for 15 minutes"
_JWT_KEY = "check private_key: its certificate has to be the app's; and the clock of this machine"
_APPROVED = (
    "let the user use the app beforehand: pre-authorize users in the app's policies, by a permission set or profile"
)
_OTHER_AUTH = 'or use auth = "client_credentials", "oauth" or "jwt"'

_RESTRICTED: tuple[tuple[str, str], ...] = (
    ("invalid_client", "app must be installed"),
    ("invalid_client", "blocked by admin"),
    ("invalid_grant", "not admin approved"),
)
"""Refusals of the app itself, by any login: what to do about them is the same with each, and is in the table."""

_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("credentials", "INSUFFICIENT_ACCESS", "", f"give the user the permission Use Any API Auth, {_OTHER_AUTH}"),
    ("credentials", "UNSUPPORTED_API_VERSION", "", f"this org has no SOAP login any more: {_OTHER_AUTH[3:]}"),
    (
        "credentials",
        "INVALID_LOGIN",
        "",
        "check username, password, security_token, and login_url (a sandbox has its own)",
    ),
    (
        "credentials",
        "LOGIN_MUST_USE_SECURITY_TOKEN",
        "",
        "set security_token, or allow this machine's address in the org's trusted IP ranges",
    ),
    ("oauth", "invalid_client", "", _APP),
    ("oauth", "invalid_grant", "ip restricted", ""),
    ("oauth", "invalid_grant", "login rate exceeded", ""),
    ("oauth", "invalid_grant", "", _AGAIN),
    (
        "oauth",
        "unsupported_grant_type",
        "",
        "let the app have refresh tokens: scope refresh_token in its OAuth settings",
    ),
    ("oauth", "unauthorized_client", "", "let the app have refresh tokens: scope refresh_token in its OAuth settings"),
    ("oauth", "inactive_user", "", "activate the user, or run {command} as another"),
    ("oauth", "invalid_app_access", "", _APPROVED),
    ("oauth", "OAUTH_APP_ACCESS_DENIED", "", _APPROVED),
    (WEB_FLOW, "invalid_client", "", _APP),
    (WEB_FLOW, "redirect_uri_mismatch", "", "write this address into the app's callback URLs"),
    (WEB_FLOW, "invalid_grant", "ip restricted", ""),
    (WEB_FLOW, "invalid_grant", "", _NEW_CODE),
    (WEB_FLOW, "unsupported_grant_type", "", "enable the authorization code flow in the app's OAuth settings"),
    (WEB_FLOW, "inactive_user", "", "activate the user, or log in as another"),
    (WEB_FLOW, "invalid_app_access", "", _APPROVED),
    (WEB_FLOW, "OAUTH_APP_ACCESS_DENIED", "", _APPROVED),
    ("jwt", "invalid_client", "", _KEY_ONLY),
    ("jwt", "invalid_grant", "hasn't approved", _APPROVED),
    (
        "jwt",
        "invalid_grant",
        "audience",
        'set audience = "https://login.salesforce.com", or "https://test.salesforce.com" for a sandbox',
    ),
    ("jwt", "invalid_grant", "assertion", _JWT_KEY),
    ("jwt", "invalid_grant", "expired", _JWT_KEY),
    ("jwt", "invalid_grant", "ip restricted", ""),
    ("jwt", "invalid_grant", "login rate exceeded", ""),
    (
        "jwt",
        "invalid_grant",
        "",
        "check username and private_key: the app has to know the user and the key's certificate",
    ),
    (
        "jwt",
        "unsupported_grant_type",
        "",
        "let the app use digital signatures (the JWT bearer flow) in its OAuth settings",
    ),
    (
        "jwt",
        "unauthorized_client",
        "",
        "let the app use digital signatures (the JWT bearer flow) in its OAuth settings",
    ),
    ("jwt", "inactive_user", "", "activate the user, or name another in username"),
    ("jwt", "invalid_app_access", "", _APPROVED),
    ("jwt", "OAUTH_APP_ACCESS_DENIED", "", _APPROVED),
)


def advise(auth: str, code: str, message: str, *, usual: str, command: str) -> str:
    """Return what to do when a login by ``auth`` is refused; ``usual`` is what the table of codes says.

    ``command`` is the one by which a person logs in to the connection.
    """
    if any(each == code.lower() and words in message.lower() for each, words in _RESTRICTED):
        return usual
    for row_auth, row_code, words, advice in _ROWS:
        if row_auth == auth and row_code.lower() == code.lower() and words in message.lower():
            return (advice or usual).format(command=command)
    return usual


def renewal_refused(auth: str) -> str:
    """Return what to do when a session is refused that a login by ``auth`` has only just given."""
    if auth == "session_id":
        return (
            'the session has ended, and nothing can renew it: set session_id anew, or use another auth, such as "jwt"'
        )
    user = "the run-as user's" if auth == "client_credentials" else "the user's"
    return (
        f"a new login is refused too: check {user} API access, session settings and IP ranges, and whether API Access "
        "Control of the org lets the app in"
    )
