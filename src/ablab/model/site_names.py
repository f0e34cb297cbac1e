"""Names of sites, as they are typed. Does not import torch."""


def plain_site(name: str) -> str:
    """A site's name or pattern less TransformerLens's ``hook_``."""
    if name.endswith("ln_final.hook_normalized"):
        return name.removesuffix(".hook_normalized")
    return ".".join(part.removeprefix("hook_") for part in name.split("."))
