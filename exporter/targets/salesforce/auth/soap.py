"""SOAP's login(): user name, password and security token, while Salesforce still has it."""

from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from exporter.failures import configuration
from exporter.settings.salesforce import SalesforceConnection
from exporter.targets.salesforce.auth.token_response import Login, check_instance, read_instance, reveal
from exporter.targets.salesforce.http.error_codes import Where
from exporter.targets.salesforce.http.http_session import CallError, OrgSession, diagnosing
from exporter.targets.salesforce.http.responses import find_text, known_id, parse_xml, read_token

LOGIN_VERSION = "64.0"
"""The last with login(), whatever the data calls use: the page of login() in the SOAP API guide."""
_ENVELOPE, _PARTNER = "http://schemas.xmlsoap.org/soap/envelope/", "urn:partner.soap.sforce.com"


def log_in(session: OrgSession, connection: SalesforceConnection) -> Login:
    """Call login(). Raises CallError, without the password, or ExportError."""
    password, token = reveal("password", connection.password), reveal("security_token", connection.security_token)
    try:
        with diagnosing(Where.LOGIN, urlsplit(connection.login_url).netloc):
            answer = session.exchange(
                "POST",
                f"{connection.login_url}/services/Soap/u/{LOGIN_VERSION}",
                headers={"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"},
                body=_call(connection.username or "", password + token),
            )
            login, expired = _read(answer.content)
    except CallError as error:
        plain = error.message.removeprefix(f"{error.code}: ")  # a fault's text begins with its code
        raise error.with_rule(error.rule, plain).without([password + token, password, token]) from None
    if expired:  # then the session is good for nothing but a new password
        message = "the user's password has expired: set a new one, there and here"
        raise configuration("INVALID_OPERATION_WITH_EXPIRED_PASSWORD", message)
    check_instance(login.instance_url, connection.login_url)
    return login


def _call(username: str, password: str) -> bytes:
    envelope = ET.Element(f"{{{_ENVELOPE}}}Envelope")
    call = ET.SubElement(ET.SubElement(envelope, f"{{{_ENVELOPE}}}Body"), f"{{{_PARTNER}}}login")
    ET.SubElement(call, f"{{{_PARTNER}}}username").text = username
    ET.SubElement(call, f"{{{_PARTNER}}}password").text = password
    return b'<?xml version="1.0" encoding="UTF-8"?>' + ET.tostring(envelope)


def _read(content: bytes) -> tuple[Login, bool]:
    """Return the login, and whether the password has expired."""
    root = parse_xml(content)
    server = find_text(root, "serverUrl")  # https://HOST/services/Soap/u/64.0/ORG
    scheme, mark, rest = server.partition("://")
    login = Login(
        token=read_token(find_text(root, "sessionId")),
        instance_url=read_instance(f"{scheme}{mark}{rest.partition('/')[0]}"),
        username=find_text(root, "userName") or None,
        user_id=known_id(find_text(root, "userId")),
    )
    return login, find_text(root, "passwordExpired") == "true"
