"""XML from others: elements and text, and nothing that grows while it is read. Pure."""

from typing import Any
from xml.etree import ElementTree as ET

_DEEPEST = 100


class XmlError(ValueError):
    """A text that is no complete XML, or more than elements and text."""


class _Builder(ET.TreeBuilder):
    """Builds elements up to a number and a depth. Entities need a document type, and that is refused."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most
        self._depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Refuse it: the parser calls this before anything in it means something, in whatever encoding it comes."""
        del name, public, system
        raise XmlError("it has a document type")

    def start(self, tag: str, attributes: Any) -> ET.Element:  # noqa: ANN401 - as the base class has it
        """Begin an element."""
        self._depth += 1
        self._left -= 1
        if self._depth > _DEEPEST or self._left < 0:
            raise XmlError("it has too many elements")
        return super().start(tag, attributes)

    def end(self, tag: str) -> ET.Element:
        """End an element."""
        self._depth -= 1
        return super().end(tag)


def parse_plain(content: str | bytes, *, most: int) -> ET.Element:
    """Parse a document of at most ``most`` elements. Raises XmlError."""
    try:
        return ET.fromstring(content, ET.XMLParser(target=_Builder(most)))  # noqa: S314 - see _Builder
    except XmlError:
        raise
    except (ET.ParseError, ValueError, LookupError) as error:  # the last: an encoding that nobody knows
        raise XmlError("it is not complete") from error
