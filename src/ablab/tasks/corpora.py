"""Corpora: found on this machine or downloaded, always identified by a digest of their content.

Does not import torch.
"""

import hashlib
import os
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import platformdirs

from ablab.config import InputError, Problem, is_file, nearest


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
PYTHON_STDLIB = "python-stdlib"
PYTHON_STDLIB_ABOUT = "the running Python's own library sources, the top-level ASCII modules"


def corpus_names() -> list[str]:
    """The names of all known corpora."""
    return sorted([*DOWNLOADS, PYTHON_STDLIB])


def cache_folder() -> Path:
    """The folder for downloaded corpora in the user's cache."""
    return Path(platformdirs.user_cache_dir("ablab")) / "data"


@lru_cache(maxsize=8)
def read_corpus(name: str, key: str = "task.corpus") -> str:
    """The text of a corpus, given by name or as the path of a UTF-8 file.

    Raises:
        InputError: There is no such corpus or file, it is not UTF-8 text, or it cannot be
            downloaded; the error then says where to put the file.
    """
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
    tell(f"downloading {name} ({download.size:,} bytes)")
    try:
        with urllib.request.urlopen(download.url, timeout=30) as answer:
            data = answer.read(download.size + 1)
    except (OSError, urllib.error.URLError) as error:
        raise InputError(
            Problem(
                f"{key}: {name} is not on this machine and cannot be downloaded ({error})",
                key,
                given=name,
                expected=(
                    f"put the file ({download.size:,} bytes, SHA-256 {download.sha256}) at "
                    f"{_folders()[0] / download.file_name}, or set ABLAB_DATA to a folder that "
                    f"contains {download.file_name}; task.corpus=python-stdlib needs no network"
                ),
            )
        ) from error
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial = Path(file.name)
    try:
        _check(partial, download, called=download.url)
        partial.replace(folder / download.file_name)
    finally:
        partial.unlink(missing_ok=True)
    return folder / download.file_name


def _folders() -> list[Path]:
    named = os.environ.get("ABLAB_DATA")
    return ([Path(named).expanduser()] if named else []) + [cache_folder()]


def _check(path: Path, download: Download, called: str | None = None) -> None:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != download.sha256:
        raise InputError(
            Problem(
                f"{called or path} does not have the content of {download.file_name}",
                given=f"{len(data):,} bytes, SHA-256 {digest}",
                expected=f"{download.size:,} bytes, SHA-256 {download.sha256}",
            )
        )


@lru_cache(maxsize=1)
def _python_stdlib() -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    return "\n".join(text.decode("ascii") for text in texts if text.isascii())
