"""The bottom layer: the configuration base class, registries, and errors with their source.

- ``archived_modules``: imports archived copies of users' modules
- ``base``: the base class of typed configurations, and the fields that enter a run's identity
- ``cache``: the user's cache folder
- ``descriptions``: the docstrings of settings
- ``errors``: ``InputError`` and ``Problem``
- ``files``: atomic writes
- ``html``: text and tables as HTML for notebooks
- ``local_imports``: the source files of a user's module
- ``own_parts``: what a part that a user wrote lacks, with the lines to add
- ``patterns``: selecting names by shell-style patterns
- ``plain_data``: Python data as what JSON can hold
- ``progress``: progress of long work, for whoever listens
- ``registry``: components found by name or import path
- ``shown``: public objects as short text and as HTML for notebooks
- ``source_digest``: what a user's code is known by
- ``syntax``: the digest of a syntax tree
- ``table``: tables as text that fits a width
- ``variants``: small components, one per file
- ``wording``: helpers for messages
"""

from ablab.config.base import Config, Neutral, NotInIdentity, identity_of
from ablab.config.descriptions import field_descriptions
from ablab.config.errors import InputError, Problem, check_path, is_file, nearest
from ablab.config.patterns import match_names
from ablab.config.progress import doing, ticking
from ablab.config.registry import Registry, load_object
from ablab.config.source_digest import SourceDigest, component_source, source_digest
from ablab.config.variants import Component, Variants
from ablab.config.wording import counted, visible, visible_lines

__all__ = [
    "Component",
    "Config",
    "InputError",
    "Neutral",
    "NotInIdentity",
    "Problem",
    "Registry",
    "SourceDigest",
    "Variants",
    "check_path",
    "component_source",
    "counted",
    "doing",
    "field_descriptions",
    "identity_of",
    "is_file",
    "load_object",
    "match_names",
    "nearest",
    "source_digest",
    "ticking",
    "visible",
    "visible_lines",
]
