"""The checks, a file each; :func:`ablab.doctor.check.all_checks` finds them by their place."""
