"""``python -m ablab``: the same as the command ``ablab``."""

from ablab.cli.main import main

main()
