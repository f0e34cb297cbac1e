"""A contract for import-linter whose modules are named by patterns, so that no list is kept."""

from fnmatch import fnmatchcase

from grimp import ImportGraph
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.domain import fields
from importlinter.domain.contract import ContractCheck
from importlinter.domain.imports import ModuleExpression


class PatternContract(ForbiddenContract):
    """A forbidden contract whose sources are shell-style patterns over a module's whole name.

    import-linter's own wildcards stand for whole parts of a name: none can say ``*_config``.
    """

    type_name = "forbidden_by_pattern"

    source_modules = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Checks every module of the package that a pattern matches."""
        root = self.session_options["root_packages"][0]
        self.source_modules = {
            ModuleExpression(name)
            for name in graph.modules
            if name.partition(".")[0] == root
            and any(fnmatchcase(name, pattern) for pattern in self.source_modules)
        }
        return super().check(graph, verbose)
