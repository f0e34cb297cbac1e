"""The how-to pages: their files and commands, as written."""

import re
import shlex
from pathlib import Path

from tests.cli.command import run_command
from tests.users_code import Folder

PAGES = Path(__file__).resolve().parent.parent / "docs" / "howto"


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of each block of code."""
    return re.findall(r"```(\w+)\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


def follow(page: str, folder: Folder, code: int = 0) -> list[str]:
    """Does what a page says in an empty folder: saves its files, and runs its commands.

    Args:
        page: The page.
        folder: The folder, which is the working directory.
        code: The exit code of each command.

    Returns:
        What each command printed: its standard output, then its standard error.
    """
    printed = []
    for language, text in blocks(page):
        named = re.match(r"# ([\w/]+\.\w+)\n", text)
        if language in ("python", "yaml"):
            assert named is not None, f"a file of {page} has no name"
            folder.write({named[1]: text})
        for line in text.splitlines() if language == "sh" else ():
            program, *arguments = shlex.split(line)
            assert program == "ablab"
            found, out, err = run_command(*arguments)
            assert found == code, f"{line}: {err}"
            printed.append(out + err)
    return printed
