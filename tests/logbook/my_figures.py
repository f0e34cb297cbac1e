"""Figures of a user's own, for tests."""

from matplotlib.figure import Figure

from ablab.logbook.figure import figure


@figure("norms", shows="run", about="the norm of every parameter that is kept")
def norms(run):
    drawing = Figure()
    axes = drawing.subplots()
    for name, parameter in run.model().named_parameters():
        axes.barh(name, float(parameter.detach().norm()))
    return drawing


@figure("curves", shows="statistic", about="has the name of a shipped figure")
def last(frame, group):
    drawing = Figure()
    values = [frame[column].drop_nulls()[-1] for column in group.columns.values()]
    drawing.subplots().bar([f"layer {layer}" for layer in group.columns], values)
    return drawing


def undecorated(run):
    return Figure()
