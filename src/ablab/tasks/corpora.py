"""Corpora: found on this machine or downloaded, always identified by a digest of their content.

Does not import torch.
"""

import hashlib
import os
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ablab.config import InputError, Problem, doing, is_file, nearest
from ablab.config.cache import CORPORA, cache_folder, default_cache_folder
from ablab.config.files import write_atomically
from ablab.tasks.provided import provided


@dataclass(frozen=True)
class Download:
    """A file that can be downloaded, identified by its size and digest."""

    file_name: str
    url: str
    size: int
    sha256: str
    about: str


DOWNLOADS = {
    "tinyshakespeare": Download(
        file_name="tinyshakespeare.txt",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        size=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        about="40,000 lines of Shakespeare (Karpathy, char-rnn)",
    )
}
_CHUNK = 2**16  # bytes
_TELL_EVERY = 1.0  # seconds between progress messages
PYTHON_STDLIB = "python-stdlib"
PYTHON_STDLIB_ABOUT = "the running Python's own library sources, the top-level ASCII modules"


def corpus_names() -> list[str]:
    """The names of all known corpora."""
    return sorted([*DOWNLOADS, PYTHON_STDLIB])


@lru_cache(maxsize=8)
def read_corpus(name: str, key: str = "task.corpus") -> str:
    """The text of a corpus, given by name or as the path of a UTF-8 file.

    Raises:
        InputError: There is no such corpus or file, it is not UTF-8 text, or it cannot be
            downloaded; the error then says where to put the file.
    """
    sent = provided(name)
    if sent is not None:
        return sent
    if name == PYTHON_STDLIB:
        return _python_stdlib()
    path = find_corpus(name, key) or fetch_corpus(name, key)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            Problem(f"{key}: {path} is not UTF-8 text ({error.reason})", key, given=name)
        ) from error
    except OSError as error:
        raise InputError(Problem(f"{key}: cannot read {path} ({error.strerror})", key)) from error


@lru_cache(maxsize=8)
def corpus_digest(name: str) -> str:
    """SHA-256 of the text of a corpus in UTF-8 (hexadecimal)."""
    return hashlib.sha256(read_corpus(name).encode("utf-8")).hexdigest()


@lru_cache(maxsize=8)
def corpus_characters(name: str) -> str:
    """The distinct characters of a corpus, in order."""
    return "".join(sorted(set(read_corpus(name))))


def find_corpus(name: str, key: str = "corpus") -> Path | None:
    """The path of a corpus on this machine, or None if it must be downloaded.

    Raises:
        InputError: The name is neither a known corpus nor a file.
    """
    if name in DOWNLOADS:
        download = DOWNLOADS[name]
        for folder in _folders():
            path = folder / download.file_name
            if path.is_file():
                _check(path, download)
                return path
        return None
    path = Path(name).expanduser()
    if is_file(path):
        return path
    raise InputError(
        Problem(
            f"{key}: no corpus and no file called {name!r}",
            key,
            given=name,
            expected="one of " + ", ".join(corpus_names()) + ", or the path of a text file",
            suggestion=nearest(name, corpus_names()),
        )
    )


def fetch_corpus(
    name: str, key: str = "corpus", tell: Callable[[str], None] = lambda message: None
) -> Path:
    """Downloads a corpus into the user's cache, after verifying its digest.

    Raises:
        InputError: The corpus cannot be downloaded, or the file is not the expected one. In this
            case nothing is stored.
    """
    if name not in DOWNLOADS:
        downloads = sorted(DOWNLOADS)
        raise InputError(
            Problem(
                f"{key}: {name!r} is not available for download",
                key,
                given=name,
                expected="one of " + ", ".join(downloads),
                suggestion=nearest(name, downloads),
            )
        )
    download = DOWNLOADS[name]
    told = f"downloading {name} ({download.size:,} bytes)"
    tell(told)
    path = downloaded_path(name)
    with doing(told):
        write_atomically(path, lambda partial: _download(name, key, partial, tell))
    return path


def downloaded_path(name: str) -> Path:
    """The path that a corpus is downloaded to."""
    return cache_folder() / CORPORA / DOWNLOADS[name].file_name


class _Progress:
    """A progress bar as pooch expects it; reports the bytes so far once a second."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._done, self._told = 0, time.monotonic()
        self.total = 0  # set by pooch

    def update(self, size: int) -> None:
        """Counts bytes that have been downloaded."""
        self._done += size
        if time.monotonic() - self._told >= _TELL_EVERY:
            self._told = time.monotonic()
            self._tell(f"downloaded {self._done:,} bytes")

    def reset(self) -> None:
        """Called once at the end; pooch then counts all bytes again."""
        self._done = 0

    def close(self) -> None:
        """Called when the download is complete."""


def _download(name: str, key: str, to: Path, tell: Callable[[str], None]) -> None:
    import pooch  # only downloads need it, and importing it takes a tenth of a second

    pooch.get_logger().setLevel("WARNING")  # ``tell`` reports downloads
    download = DOWNLOADS[name]
    expected = f"{download.size:,} bytes, SHA-256 {download.sha256}"
    try:
        pooch.retrieve(
            download.url,
            f"sha256:{download.sha256}",
            fname=to.name,
            path=to.parent,
            downloader=pooch.HTTPDownloader(progressbar=_Progress(tell), chunk_size=_CHUNK),
        )
    except OSError as error:  # first: some network errors are ValueErrors, too
        raise InputError(
            Problem(
                f"{key}: {name} is not on this machine and cannot be downloaded ({error})",
                key,
                given=name,
                expected=(
                    f"put the file ({expected}) at "
                    f"{_folders()[0] / download.file_name}, or set ABLAB_DATA to a folder that "
                    f"contains {download.file_name}; task.corpus=python-stdlib needs no network"
                ),
            )
        ) from error
    except ValueError as error:  # a different digest
        raise InputError(
            Problem(
                f"{download.url} does not have the content of {download.file_name}",
                given=str(error).partition(". ")[0],
                expected=expected,
            )
        ) from error


def _folders() -> list[Path]:
    named = os.environ.get("ABLAB_DATA")
    return ([Path(named).expanduser()] if named else []) + _cache_folders()


def _cache_folders() -> list[Path]:
    """The folder for downloads, and the one of earlier releases, which ignored ``ABLAB_CACHE``."""
    return list(dict.fromkeys([cache_folder() / CORPORA, default_cache_folder() / CORPORA]))


def _check(path: Path, download: Download) -> None:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != download.sha256:
        raise InputError(
            Problem(
                f"{path} does not have the content of {download.file_name}",
                given=f"{len(data):,} bytes, SHA-256 {digest}",
                expected=f"{download.size:,} bytes, SHA-256 {download.sha256}",
            )
        )


@lru_cache(maxsize=1)
def _python_stdlib() -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    return "\n".join(text.decode("ascii") for text in texts if text.isascii())
