"""The ground: typed configuration's base, the registry, and errors that know their place."""

from ablab.config.base import Config, Neutral, NotInIdentity, identity_of
from ablab.config.errors import InputError, Problem, is_file, nearest
from ablab.config.patterns import match_names
from ablab.config.registry import Registry, load_object, source_digest
from ablab.config.variants import Component, Variants

__all__ = [
    "Component",
    "Config",
    "InputError",
    "Neutral",
    "NotInIdentity",
    "Problem",
    "Registry",
    "Variants",
    "identity_of",
    "is_file",
    "load_object",
    "match_names",
    "nearest",
    "source_digest",
]
