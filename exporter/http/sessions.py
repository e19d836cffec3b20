"""Sessions of requests whose every call ends: see :mod:`~exporter.http.calls`. Home of requests' adapters."""

from typing import Any

import requests
import requests.adapters

from exporter.http.calls import PIECE, Line, limit, receive


class LimitedAdapter(requests.adapters.HTTPAdapter):
    """Connects as the calls' limits have it; from ``source_address``, if there is one, to hosts and to proxies."""

    def __init__(self, source_address: str | None = None) -> None:
        self._options: dict[str, Any] = {} if source_address is None else {"source_address": (source_address, 0)}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:  # noqa: ANN401, FBT001, FBT002 - requests' own signature
        """Make the pool of connections to hosts."""
        super().init_poolmanager(connections, maxsize, block, **options, **self._options)
        limit(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - the same
        """Return the pool of connections to a proxy."""
        return limit(super().proxy_manager_for(proxy, **options, **self._options))


class LimitedSession(requests.Session):
    """A session whose answers are read to the end, within limits, and which follows no redirect.

    A redirect would carry a password off to another address; it is an answer like any other.
    """

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line
        for scheme in ("https://", "http://"):
            self.mount(scheme, LimitedAdapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none: requests would read the answer's body, of any size, and trip over odd addresses."""
        del resp

    def fetch(
        self,
        method: str | bytes,
        url: str | bytes,
        *arguments: Any,  # noqa: ANN401 - requests' own, twenty of them
        largest: int,
        line: Line | None = None,
        **options: Any,  # noqa: ANN401 - the same
    ) -> requests.Response:
        """Send a request, over ``line`` instead of the session's own, and return the answer with its content.

        Raises what requests raises, CallStoppedError, and BrokenAnswerError, also for a decompressed body of more
        than ``largest`` bytes.
        """
        options |= {"stream": True, "allow_redirects": False}
        with (line or self.line).call(largest=largest), super().request(method, url, *arguments, **options) as response:
            content = bytearray()
            receive(response.iter_content(PIECE), content.extend, largest=largest)
            response._content = bytes(content)  # noqa: SLF001 - what requests does itself where it reads without a limit
            return response
