"""What training processes and compilers tell each other, as small files in a folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablab.execute.ahead.programs import is_stored

_ENDED = "ended"


@dataclass(frozen=True)
class Wanted:
    """The first stack of a plan that needs a program.

    Attributes:
        stack: The number of the stack.
        runs: The ids of those of its runs that have steps left.
        meanwhile: Whether it may train eagerly until the program is compiled.
    """

    stack: int
    runs: tuple[str, ...]
    meanwhile: bool


@dataclass(frozen=True)
class Exchange:
    """The programs that compilers are asked for, and how far these are.

    Attributes:
        folder: The folder.
        programs: The programs that compilers are asked for, in the order of the stacks.
        lent: How many threads of its own a stack that waits lends to compilers, which then compile
            nothing but what is waited for; 0 if they have idle cores.
    """

    folder: Path
    programs: Mapping[str, Wanted]
    lent: int = 0

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Exchange":
        """The exchange from the output of :meth:`as_data`."""
        programs = {
            program: Wanted(each["stack"], tuple(each["runs"]), each["meanwhile"])
            for program, each in data["programs"].items()
        }
        return cls(Path(data["folder"]), programs, data["lent"])

    def as_data(self) -> dict[str, Any]:
        """The exchange as plain data."""
        programs = {program: asdict(each) for program, each in self.programs.items()}
        return {"folder": str(self.folder), "programs": programs, "lent": self.lent}

    def want(self, program: str | None) -> bool:
        """Asks for a program before all others.

        Returns:
            Whether a compiler is or will be compiling it. Otherwise it is compiled already, or the
            stack has to compile it.
        """
        if program is None or program not in self.programs or self.is_over(program):
            return False
        try:
            if not self.programs[program].meanwhile:
                self.begin(program)  # the stack compiles it, unless a compiler does
                return False
            (self.folder / f"{program}.wanted").touch()
        except OSError:  # somebody has cleaned the folder for temporary files
            return False
        return not self.is_over(program)

    def is_over(self, program: str) -> bool:
        """Whether there is nothing to wait for: it is compiled, it failed, or compilers ended."""
        failed = self.folder / f"{program}.failed"
        ended = (self.folder / _ENDED).exists() or not self.folder.exists()
        return is_stored(program) or failed.exists() or ended

    def begin(self, program: str, compiler: int | None = None) -> bool:
        """Takes a program; False if another process has taken it.

        Args:
            program: The program.
            compiler: The number of the compiler that takes it; None if a stack does.
        """
        try:
            with (self.folder / f"{program}.begun").open("x") as file:
                file.write("" if compiler is None else str(compiler))
        except FileExistsError:
            return False
        return True

    def next(self, compiler: int) -> str | None:
        """Takes the program that a compiler compiles next; None if none is left, or none wanted."""
        left = self._left()
        wanted = [each for each in left if (self.folder / f"{each}.wanted").exists()]
        others = [] if self.lent else left
        return next((each for each in [*wanted, *others] if self.begin(each, compiler)), None)

    def may_want_more(self) -> bool:
        """Whether programs are left that stacks may still ask for."""
        return bool(self.lent) and bool(self._left())

    def _left(self) -> list[str]:
        """The programs that nobody has begun to compile."""
        begun = [(self.folder / f"{each}.begun").exists() for each in self.programs]
        pairs = zip(self.programs, begun, strict=True)
        return [each for each, taken in pairs if not taken and not is_stored(each)]

    def fail(self, program: str) -> None:
        """Notes that a program could not be compiled."""
        (self.folder / f"{program}.failed").touch()

    def end(self, compiler: int, is_last: bool) -> None:
        """Notes the end of a compiler, which may not have finished what it began.

        Args:
            compiler: Its number.
            is_last: Whether no other compiler is left.
        """
        for program in self.programs:
            begun = self.folder / f"{program}.begun"
            if begun.exists() and begun.read_text() == str(compiler) and not is_stored(program):
                self.fail(program)
        if is_last:
            (self.folder / _ENDED).touch()
