"""Bytes from a path or from stdin, decompressed, whatever the file is called."""

from __future__ import annotations

import bz2
import difflib
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from .errors import InputError, listed

__all__ = ["Source"]

# Files that are no text, by their first bytes, and what to do with them.
_BINARY = {
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Excel workbook or another Office file; save the table as CSV",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"\x89HDF": "an HDF5 file; export the table as CSV",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; decompress it first",
    b"ARROW1": "a Feather file; save the table as parquet or CSV",
    b"\x93NUMPY": "an array of NumPy; save the table as CSV",
    b"\x80\x04\x95": "a Python pickle; save the table as CSV",
}
_PROGRAMS = (b"\x7fELF", b"MZ")


class Source:
    """A file that may be read more than once.

    Parameters
    ----------
    path : str
        A path, or "-" for stdin.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.shown = "stdin" if path == "-" else repr(path)
        self.name = "stdin" if path == "-" else _stem(path)
        self._bytes = sys.stdin.buffer.read() if path == "-" else None
        with self._raw() as file:
            start = file.read(262)
        self.compression = self._recognise(start)
        self.is_parquet = start.startswith(b"PAR1")

    def _raw(self) -> BinaryIO:
        if self._bytes is not None:
            return io.BytesIO(self._bytes)
        try:
            return open(self.path, "rb")
        except FileNotFoundError:
            raise InputError(f"no file {self.path!r}{_alike(self.path)}") from None
        except IsADirectoryError:
            inside = sorted(p.name for p in Path(self.path).iterdir() if p.is_file())
            holds = f"; it holds {listed(inside, 4)}" if inside else ""
            raise InputError(f"{self.path!r} is a folder, not a file{holds}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot read {self.path!r}: {reason}") from None

    def _recognise(self, start: bytes) -> str | None:
        """The compression, or an error for what is no table at all."""
        if not start:
            raise InputError(f"{self.shown} is empty; a table needs a header and rows")
        for magic, what in _BINARY.items():
            if start.startswith(magic):
                raise InputError(f"{self.shown} is no table in text but {what}")
        if start.startswith(_PROGRAMS) and b"\x00" in start:
            raise InputError(f"{self.shown} is no table in text but a program")
        if start[257:262] == b"ustar":
            raise InputError(f"{self.shown} is an archive of tar; unpack the table first")
        if start.startswith(b"\x1f\x8b"):
            return "gzip"
        if start.startswith(b"BZh"):
            return "bz2"
        if start.startswith(b"\xfd7zXZ\x00"):
            return "xz"
        return "zip" if start.startswith(b"PK\x03\x04") else None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A stream of the decompressed bytes, from the start."""
        with ExitStack() as stack:
            raw = stack.enter_context(self._raw())
            if self.compression == "zip":
                archive = stack.enter_context(self._archive(raw))
                yield cast(BinaryIO, stack.enter_context(archive.open(self._member(archive))))
            elif self.compression is not None:
                unpack: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
                yield stack.enter_context(unpack[self.compression](raw))
            else:
                yield raw

    def _archive(self, raw: BinaryIO) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(raw)
        except zipfile.BadZipFile as error:
            raise InputError(f"{self.shown} is a broken zip archive: {error}") from None

    def _member(self, archive: zipfile.ZipFile) -> str:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if "[Content_Types].xml" in names:
            raise InputError(f"{self.shown} is an Office file, not a text; save its table as CSV")
        tables = [name for name in names if not name.startswith(("__MACOSX/", "."))]
        if len(tables) != 1:
            raise InputError(f"{self.shown} holds {len(tables)} files, not one: {listed(tables)}")
        return tables[0]

    def head(self, size: int) -> tuple[bytes, bool]:
        """The first `size` decompressed bytes, and whether these are all."""
        try:
            with self.open() as stream:
                head = stream.read(size)
                return head, not stream.read(1)
        except (OSError, EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
            raise InputError(f"cannot decompress {self.shown}: {error}") from None


def _stem(path: str) -> str:
    name = Path(path).name
    while Path(name).suffix.lower() in {".gz", ".bz2", ".xz", ".zip"}:
        name = Path(name).stem
    return Path(name).stem


def _alike(path: str) -> str:
    """Files of the same folder with nearly that name."""
    folder = Path(path).parent
    if not folder.is_dir():
        return f"; there is no folder {str(folder)!r}"
    try:
        names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return ""
    close = difflib.get_close_matches(Path(path).name, names, n=1)
    return f"; did you mean {str(folder / close[0])!r}?" if close else ""
