"""The SOAP API, as far as it lets a user in by password, and out again."""

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from exporter.emulator.http import RefusalError, Reply, Request, Route
from exporter.emulator.org.org import FIRST_VERSION, USER_ID, Org
from exporter.emulator.org.record_table import local_name, parse_xml

KIND = "text/xml;charset=UTF-8"
LAST_LOGIN_VERSION = 64
"""There is no login() from 65.0 on: developer.salesforce.com/docs/platform/api/guide/sforce-api-calls-login.html."""
_FAULT = 500
_API = "urn:partner.soap.sforce.com"
_WRONG = "Invalid username, password, security token; or user locked out."
_TOKEN_NEEDED = (
    f"{_WRONG} Are you at a new location? When accessing Salesforce from outside of your company's trusted networks, "
    "you must add a security token to your password to log in."
)


class Soap:
    """``/services/Soap``: login and logout."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def routes(self) -> Iterable[Route]:
        """Return the paths of the SOAP API; after a login clients go on at the server's address, which is longer."""
        for path in ("/services/Soap/{api}/{version}", "/services/Soap/{api}/{version}/{org}"):
            yield Route(method="POST", path=path, handler=self._call, needs_login=False)

    def _call(self, request: Request, names: Mapping[str, str]) -> Reply:
        if names["api"] not in {"u", "c"}:
            raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")
        try:
            header, call = _envelope(request.body)
        except ValueError as error:
            raise RefusalError(_FAULT, "UNKNOWN_EXCEPTION", str(error)) from error
        version = self._version(names["version"])
        name = local_name(call)
        if name == "login":
            if version > LAST_LOGIN_VERSION:
                message = f"The login() call is not available from API version {LAST_LOGIN_VERSION + 1}.0 on"
                raise RefusalError(_FAULT, "UNSUPPORTED_API_VERSION", message)
            return self._login(call, names)
        if name == "logout":
            return self._logout(header)
        raise RefusalError(_FAULT, "UNKNOWN_EXCEPTION", f"The emulator has no SOAP call {name}")

    def _version(self, text: str) -> float:
        try:
            return self._org.check_version(text)
        except RefusalError as error:
            message = f"Invalid Api version specified on URL: the first is {FIRST_VERSION}.0"
            raise RefusalError(_FAULT, "UNSUPPORTED_API_VERSION", message) from error

    def _login(self, call: ET.Element, names: Mapping[str, str]) -> Reply:
        given = {local_name(child): child.text or "" for child in call}
        rights = self._org.rights
        username, password = given.get("username", ""), given.get("password", "")
        if not rights.admits(username, password):
            if rights.admits(username, password + rights.security_token):
                raise RefusalError(_FAULT, "LOGIN_MUST_USE_SECURITY_TOKEN", _TOKEN_NEEDED)
            raise RefusalError(_FAULT, "INVALID_LOGIN", _WRONG)
        if not rights.soap_login:
            raise RefusalError(_FAULT, "INSUFFICIENT_ACCESS", "SOAP API login() is disabled by default in this org.")
        path = f"{names['version']}/{self._org.org_id[:15]}"
        fields = {
            "metadataServerUrl": f"{self._org.url}/services/Soap/m/{path}",
            "passwordExpired": "false",
            "sandbox": "false",
            "serverUrl": f"{self._org.url}/services/Soap/u/{path}",
            "sessionId": self._org.open_session("access"),
            "userId": USER_ID,
        }
        user = {
            "organizationId": self._org.org_id,
            "organizationName": "Emulator",
            "sessionSecondsValid": str(int(rights.session_seconds)),
            "userId": USER_ID,
            "userName": rights.username,
        }
        result = f"{_tags(fields)}<userInfo>{_tags(user)}</userInfo>"
        return _reply(f'<loginResponse xmlns="{_API}"><result>{result}</result></loginResponse>')

    def _logout(self, header: ET.Element | None) -> Reply:
        """End all sessions of the user, who has but one for all apps."""
        tokens = (
            [] if header is None else [each.text or "" for each in header.iter() if local_name(each) == "sessionId"]
        )
        if not tokens or not self._org.session_alive(tokens[0]):
            raise RefusalError(_FAULT, "INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader")
        self._org.expire_sessions()
        return _reply(f'<logoutResponse xmlns="{_API}"/>')


def _envelope(body: bytes) -> tuple[ET.Element | None, ET.Element]:
    """Return a call's header, if it has one, and the call. Raises ValueError."""
    try:
        root = parse_xml(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("the envelope is not valid UTF-8") from error
    parts = {local_name(child): child for child in root}
    content = parts.get("Body")
    if local_name(root) != "Envelope" or content is None or len(content) != 1:
        raise ValueError("the body has to be an envelope with one call")
    return parts.get("Header"), content[0]


def refuse(error: RefusalError) -> Reply:
    """Give a refusal the form of a SOAP fault."""
    code, message = escape(error.code), escape(error.message)
    kind = "LoginFault" if error.code in {"INVALID_LOGIN", "LOGIN_MUST_USE_SECURITY_TOKEN"} else "UnexpectedErrorFault"
    detail = _tags({"sf:exceptionCode": error.code, "sf:exceptionMessage": error.message})
    return _reply(
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {message}</faultstring>"
        f'<detail><sf:{kind} xsi:type="sf:{kind}">{detail}</sf:{kind}></detail></soapenv:Fault>',
        error.status,
    )


def _reply(content: str, status: int = 200) -> Reply:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:sf="urn:fault.partner.soap.sforce.com" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{content}</soapenv:Body>'
        "</soapenv:Envelope>"
    )
    return Reply(status=status, body=text.encode("utf-8"), kind=KIND)


def _tags(fields: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
