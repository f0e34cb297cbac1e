"""What travels with a command: users' modules, corpora and tokenizers."""

from ablab.config.local_imports import is_installed
from ablab.execute.cluster.messages import Parcel
from ablab.execute.queue import StackQueue
from ablab.tasks.subwords import content_digest
from ablab.tasks.text_config import tokenizer_json
from ablab.train.run import Run


def make_parcel(queue: StackQueue) -> Parcel:
    """What every agent of a command needs.

    Installed packages are not sent: they have to be on every machine.
    """
    modules: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    for run in _runs(queue):
        for source in run.sources:
            for file in source.files:
                if not is_installed(file.module, file.path):
                    modules[file.archived_as] = file.content
        texts |= run.task.texts
    return Parcel(dict(queue.definition), queue.plan.threads, modules, texts)


def tokenizers(queue: StackQueue) -> dict[str, str]:
    """The subword tokenizers of an experiment's runs, by their digests."""
    found = {tokenizer_json(run.task) for run in _runs(queue)}
    return {content_digest(each): each for each in found if each is not None}


def _runs(queue: StackQueue) -> list[Run]:
    return [run for stack in queue.plan.stacks for run in stack.runs]
