"""``ablab generate``: continues a prompt, or lists answers of a run."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import click

from ablab.cli.common import (
    check_range,
    echo,
    json_option,
    print_json,
    print_table,
    progress,
    quiet_option,
    say,
    source_option,
    store_option,
)

_HELD_OUT = "held-out"
_LIMITS = {"--tokens": 10**6, "--samples": 10**4, "--context": 10**9, "--limit": 10**9}


@click.command()
@click.argument("run")
@click.option("--prompt", default="", help="The prompt to continue; can be empty for text.")
@click.option(
    "--tokens", default=200, show_default=True, metavar="N", help="Number of tokens to generate."
)
@click.option(
    "--temperature", default=1.0, show_default=True, help="0 always selects the most likely token."
)
@click.option("--top-k", type=int, metavar="K", help="Sample from the K most likely tokens.")
@click.option(
    "--top-p",
    type=float,
    metavar="P",
    help="Sample from the most likely tokens with total probability P.",
)
@click.option("--greedy", is_flag=True, help="The same as --temperature 0.")
@click.option("--samples", default=1, show_default=True, metavar="N", help="Number of texts.")
@click.option("--seed", default=0, show_default=True, help="Seed for sampling.")
@click.option("--step", type=int, metavar="STEP", help="The snapshot to use; the last by default.")
@click.option("--context", type=int, metavar="N", help="Maximum number of tokens to read.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float64", "bfloat16", "tf32"]),
    help="Precision of generation; by default that of the parameters.",
)
@click.option("--stored", is_flag=True, help="Show the texts that were generated in training.")
@click.option("--no-cache", is_flag=True, help="Do not cache keys and values.")
@click.option(
    "--dataset",
    type=click.Choice([_HELD_OUT]),
    help="List held-out samples with prediction and target, worst first.",
)
@click.option("--limit", default=20, show_default=True, help="Number of rows to list.")
@source_option
@store_option
@json_option
@quiet_option
def generate(
    run: str,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    greedy: bool,
    samples: int,
    seed: int,
    step: int | None,
    context: int | None,
    precision: str | None,
    stored: bool,
    no_cache: bool,
    dataset: str | None,
    limit: int,
    source: Any,
    store: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Generate text from RUN, or list its answers; RUN is the id of a run or a prefix of it."""
    with progress(quiet, "loading PyTorch"):
        import ablab
        from ablab.config import InputError
        from ablab.model.generate import Sampling
        from ablab.read.samples import continuations, held_out_answers

    if dataset is not None and prompt:
        raise InputError(
            "--prompt continues a text and --dataset lists answers: give only one of them"
        )
    numbers = {"--tokens": tokens, "--samples": samples, "--context": context, "--limit": limit}
    check_range(numbers, _LIMITS)
    found = ablab.open(store).run(run, source)
    if stored:
        _show_stored(found, step, as_json)
        return
    if dataset == _HELD_OUT:
        with progress(quiet, "answering held-out samples"):
            answers = held_out_answers(found, found.run.train.evaluate.samples, step)
        _print_answers(answers, found.id, limit, as_json)
        return
    try:
        sampling = Sampling(0.0 if greedy else temperature, top_k, top_p, seed)
    except ValueError as error:
        raise InputError(str(error)) from error
    drawn = continuations(
        found, prompt, tokens, sampling, samples=samples, step=step, cached=not no_cache,
        context=context, precision=precision,
    )  # fmt: skip
    if samples == 1 and not as_json:
        with progress(quiet, "loading the model"):
            first = next(drawn)
        _stream(chain([first], drawn))
        return
    texts: list[str] = []
    with progress(quiet, "generating"):
        for so_far in drawn:
            texts = so_far
    if as_json:
        print_json({"run": found.id, "prompt": prompt, "texts": texts})
        return
    for number, text in enumerate(texts, 1):
        echo(f"--- {number} of {samples}\n{text}")


def _stream(drawn: Iterable[list[str]]) -> None:
    """Prints a text while it is generated."""
    shown = text = ""
    for (text,) in drawn:
        # A token can end within a character, whose text then changes with the next token.
        if not text.endswith("\ufffd"):
            echo(text[len(shown) :], nl=False)
            shown = text
    echo(text[len(shown) :])


def _show_stored(run: Any, step: int | None, as_json: bool) -> None:
    """Shows the texts that are texts with a run, of one step or of all."""
    from ablab.config import InputError, Problem
    from ablab.store.samples import stored_samples

    texts = list(stored_samples(run.store, [run.id]).values())
    shown = [each for each in texts if step in (None, each.step)]
    if not shown:
        steps = ", ".join(str(each.step) for each in texts)
        raise InputError(
            Problem(
                f"run {run.id} has no stored text" + ("" if step is None else f" of step {step}"),
                expected=f"one of the steps {steps}" if texts else "a run with watch.generate",
            )
        )
    if as_json:
        print_json([vars(each) for each in shown])
        return
    for each in shown:
        echo(f"--- step {each.step}\n{each.text}")


def _print_answers(found: list[Any], run: str, limit: int, as_json: bool) -> None:
    from ablab.config import counted

    right = sum(answer.accuracy == 1 for answer in found)
    if as_json:
        answers = [vars(answer) for answer in found[:limit]]
        print_json({"run": run, "samples": len(found), "right": right, "answers": answers})
        return
    print_table(
        ["prompt", "prediction", "target", "accuracy"],
        [
            (repr(each.prompt), repr(each.prediction), repr(each.target), f"{each.accuracy:.0%}")
            for each in found[:limit]
        ],
    )
    shown = min(limit, len(found))
    echo("")
    say(f"{right} of {counted(len(found), 'held-out sample')} correct; showing the worst {shown}")
