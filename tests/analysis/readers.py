"""What tests read of findings."""


def scalars(found):
    """The scalars by name, without the name of the analysis."""
    pairs = found.scalars.select("name", "value").iter_rows()
    return {name.rpartition("/")[2]: value for name, value in pairs}


def rows(found, table, **where):
    """The rows of a table with these values, as dictionaries."""
    every = found.tables[table].iter_rows(named=True)
    return [row for row in every if all(row[key] == value for key, value in where.items())]


def row(found, table, **where):
    """The only row of a table with these values."""
    (own,) = rows(found, table, **where)
    return own
