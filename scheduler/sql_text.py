"""What in SQL is text, a quoted name, a comment or a cast, and so is left alone by whatever looks for names. Pure."""

import re

TOKEN = re.compile(
    r"""
    (?P<skip> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | (?P<tag>\$\w*\$).*?(?P=tag) | :: )
  | (?P<call> \bTD_SCHEDULED_TIME\s*\(\s*\) )
  | :(?P<name> [A-Za-z_]\w* )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
"""What to leave alone (strings, quoted names, comments, dollar-quoted text, casts) and what stands for a value."""
