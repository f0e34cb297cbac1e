"""The tutorial as a marimo notebook: marimo edit tutorial_marimo.py, or run it as a script."""

import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell
def _(mo):
    mo.md("""
    # A question, from its grid to its answer

    This notebook trains eight small transformers to add two numbers, which takes less than a
    minute on two cores. It asks whether a small learning rate is enough, looks at the attention
    of one of the models, and looks at its training again with more statistics.
    """)
    return


@app.cell
def _(mo):
    mo.md("""
    ## The question

    An experiment is a question with a base configuration, a grid of variants and seeds. What
    you expect is written down before the results exist.
    """)
    return


@app.cell
def _():
    import ablab

    exp = ablab.experiment(
        {
            "name": "rates",
            "question": "Is a small learning rate enough for 200 steps?",
            "answer": "final(eval_loss)",
            "task": {"kind": "addition", "n_digits": 2},
            "model": {"n_layers": 1, "d_model": 32, "n_heads": 2},
            "train": {
                "steps": 200,
                "batch_size": 128,
                "evaluate": {"every": 40, "samples": 128},
                "snapshots": {"every": 50},
            },
            "grid": {"train.lr": [1e-4, 3e-3]},
            "seeds": 4,
            "expect": [
                {
                    "claim": "the larger rate ends at a lower loss",
                    "measure": "final(eval_loss)",
                    "falls_with": "train.lr",
                    "confidence": 0.9,
                }
            ],
        }
    )
    exp
    return ablab, exp


@app.cell
def _(mo):
    mo.md("""
    A plan trains nothing. It says which runs train together, by which method, and about how
    long it takes.
    """)
    return


@app.cell
def _(ablab, exp):
    ablab.plan(exp, store="lab", workers=1)
    return


@app.cell
def _(mo):
    mo.md("""
    ## Training

    Everything is kept in the folder `lab`. Stop the cell if it takes too long: what is trained
    is kept, and running the cell again goes on from there. Run it a third time, and nothing is
    left to train.
    """)
    return


@app.cell
def _(ablab, exp):
    result = ablab.run(exp, store="lab", workers=1)
    result
    return (result,)


@app.cell
def _(mo):
    mo.md("""
    The last line is the path of the experiment's page, which says more. Every object shows
    itself like this, and lists say how many more there are. The numbers behind the table are a
    Polars frame:
    """)
    return


@app.cell
def _(result):
    result.table().frame
    return


@app.cell
def _(mo):
    mo.md("""
    ## The curves

    Each variant has a thick line, the median over its seeds, and a thin one for each seed. Of
    four seeds, it is the less favourable of the two in the middle. Values are shown under the
    cursor. Columns are those of `result.metrics()`, and `x` can also be `tokens`, `seconds` or
    `flops`.
    """)
    return


@app.cell
def _(result):
    result.plot("eval_loss")
    return


@app.cell
def _(ablab, result):
    store = ablab.open(result.store.path)
    store.readings("rates")
    return (store,)


@app.cell
def _(mo):
    mo.md("""
    With the larger rate, the reader finds a plateau at log(10), the loss of a model that
    guesses all ten digits alike.

    ## A look inside

    A run has its settings, curves and models. This is the attention of a run with the larger
    learning rate, before and after training. The task converts the text to tokens. The last
    token, `=`, has to predict the last digit of the sum. After training, where does it look?
    """)
    return


@app.cell
def _(result, store):
    best = min(result.runs, key=lambda run: run.eval_loss)
    run = store.run(best.run)
    run.attention("12+34=", step=0)
    return best, run


@app.cell
def _(run):
    run.attention("12+34=")
    return


@app.cell
def _(mo):
    mo.md("""
    Analyses look further: `ablab analyses` lists them. Their findings are tables and figures
    too.
    """)
    return


@app.cell
def _(ablab, run):
    ablab.analyze(run, "parameter_norms", steps="last")
    return


@app.cell
def _(mo):
    mo.md("""
    ## Effects, and the claim

    An effect has an interval, and is corrected for the number of comparisons. The claim from
    above has a verdict.
    """)
    return


@app.cell
def _(store):
    store.effects("rates", measure="final(eval_loss)")
    return


@app.cell
def _(store):
    store.verdicts("rates")
    return


@app.cell
def _(mo):
    mo.md("""
    ## A second look at training

    A run can be trained again, step for step, with more statistics than the first time. Losses
    must agree with the first ones. Here it is how spread out the attention of the run was
    during training: a mean entropy of 0 is attention to a single token.
    """)
    return


@app.cell
def _(best, run, store):
    store.replay(
        best.run, (1, 150), watch=["activation/blocks.*.attn.pattern/mean_entropy"], every=5
    )
    run.plot("train_loss", "activation/*")
    return


@app.cell
def _(mo):
    mo.md("""
    To go on, change the experiment: `ablab.experiment(exp.definition,
    "train.lr=1e-4,1e-3,3e-3")` adds a learning rate, and `ablab.run` trains only the runs that
    are missing.
    """)
    return


if __name__ == "__main__":
    app.run()
