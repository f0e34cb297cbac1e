"""Recognises the parts of a model: norms, and models that are not ablab's own."""

from torch import nn

from ablab.doctor.patient import Patient
from ablab.model.roles import Role, declared_roles


def is_norm(module: nn.Module) -> bool:
    """Whether a module and all its submodules are norms, by the name of a class or by role."""
    for part in module.modules():
        named = any("norm" in kind.__name__.lower() for kind in type(part).__mro__)
        roles = set(declared_roles(part).values())
        if not named and not (Role.NORM in roles and roles <= {Role.NORM, Role.BIAS}):
            return False
    return True


def is_users(patient: Patient) -> bool:
    """Whether the model is a user's module, not one of ablab's, whose settings are on purpose."""
    return ":" in str(patient.settings.get("kind"))
