"""Files that people name: what is none, or has no end, is refused at once and by name."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.host.regular_files import MOST_BYTES, is_inherited, open_regular, read_given, read_regular, read_text


@pytest.fixture(params=["a pipe", "a device", "a socket", "a directory"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Give what is no regular file, and what it is called."""
    path = tmp_path / "odd"
    if request.param == "a pipe":
        os.mkfifo(path)
    elif request.param == "a device":
        path = Path("/dev/zero")
    elif request.param == "a directory":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            yield path, request.param
        return
    yield path, request.param


@pytest.mark.parametrize("read", [open_regular, read_regular, read_text, read_given])
def test_what_is_no_regular_file_is_refused_by_its_kind(read: object, odd: tuple[Path, str]) -> None:
    path, kind = odd
    with pytest.raises(OSError, match=f"it is {kind}, not a regular file"):
        read(path)  # type: ignore[operator]


def test_a_file_of_more_than_the_bound_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"x" * 1025)
    assert len(read_regular(file)) == 1025
    with pytest.raises(OSError, match="it is larger than 1 KiB"):
        read_regular(file, most=1024)
    with file.open("r+b") as hole:
        hole.truncate(MOST_BYTES + 1)
    with pytest.raises(OSError, match="it is larger than 8 MiB"):
        read_regular(file)


def test_lines_end_as_everywhere_and_a_mark_in_front_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "windows"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    assert read_text(file) == "a = 1\nb = 2\n"


def test_a_shells_pipe_is_read_once_and_bounded() -> None:
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{reader}")
    assert is_inherited(path)
    assert not is_inherited(Path("/dev/zero"))

    def write() -> None:
        with os.fdopen(writer, "wb") as out:
            out.write(b"hello")

    writing = threading.Thread(target=write)
    writing.start()
    assert read_given(path) == b"hello"
    writing.join()
    os.close(reader)
