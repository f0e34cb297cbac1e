"""Names of sites as users write them. Does not import torch."""


def plain_site(name: str) -> str:
    """The name or pattern of a site without TransformerLens's ``hook_``."""
    if name.endswith("ln_final.hook_normalized"):
        return name.removesuffix(".hook_normalized")
    return ".".join(part.removeprefix("hook_") for part in name.split("."))
