"""The names of the users of this machine."""

import pwd


def user_name(uid: int) -> str:
    """Return the login name of a user, else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
