"""Reads a store with every command and page, and records what that imports, opens and asks for.

A script for a process of its own, because what has been imported or cached is not asked for again:
``python -m tests.read.recording STORE REPORT [KIND …]``. The working directory is the stranger's.
"""

import json
import sys
import traceback
from pathlib import Path

EVENTS: list[list[str]] = []
_RUNS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork")
_ASKS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind",
         "socket.sendto", "urllib.Request", "http.client.connect")  # fmt: skip
# Each with the store's experiments and runs; OUT is a file in the working directory.
READING = {
    "runs": [["runs"], ["runs", "--json"], ["runs", "--experiment", "EXPERIMENT"]],
    "show": [["show", "RUN"], ["show", "RUN", "--json"]],
    "metrics": [["metrics", "EXPERIMENT"], ["metrics", "RUN", "--columns", "train_loss"]],
    "read": [["read", "EXPERIMENT"], ["read", "RUN", "--json"]],
    "expect": [["expect", "EXPERIMENT"], ["expect", "norms", "final(train_loss) > 1"]],
    "claims": [["claims"], ["claims", "stranger.yaml", "--json"]],
    "effects": [["effects", "EXPERIMENT"], ["effects", "EXPERIMENT", "--json"]],
    "compare": [["compare", "module", "norms"], ["compare", "module", "outside", "--json"]],
    "figure": [["figure", "RUN"],
               ["figure", "RUN", "train_loss", "--out", "out.svg"]],
    "logbook": [["logbook", "outside"], ["logbook"]],
    "note": [["note", "module", "a word"], ["note", "norms", "a word"]],
    "export": [["export", "EXPERIMENT", "--to", "csv", "--out", "out.csv"],
               ["export", "EXPERIMENT", "--to", "parquet", "--out", "out.parquet"]],
    "pack": [["pack", "EXPERIMENT", "--to", "out.zip"]],
    "unpack": [["unpack", "out.zip"]],
    "check": [["check"], ["check", "--json"]],
    "serve": [],  # every page, below
}  # fmt: skip


def listen() -> None:
    """Records imports, opened files, connections and started programs from now on."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | Path):
            path = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            EVENTS.append(["open", str(Path(path).absolute()), str(arguments[1])])
        elif event == "sqlite3.connect":
            EVENTS.append(["open", str(arguments[0]), "sqlite"])
        elif event in _RUNS or event in _ASKS:
            EVENTS.append([event, repr(arguments[1:])[:200]])

    sys.addaudithook(hook)
    sys.meta_path.insert(0, _Finder())  # the event "import" leaves out importlib.import_module


class _Finder:
    """Finds nothing; records what is looked for."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        EVENTS.append(["import", name])


class Recorder:
    """Carries out one step after another; keeps what each did and printed."""

    def __init__(self) -> None:
        self.steps: list[dict] = []

    def step(self, kind: str, name: str, action) -> None:
        from ablab.tasks import corpora, subwords, text_parts

        for cached in (corpora.read_corpus, corpora.corpus_digest, corpora.corpus_characters,
                       subwords.bpe_of_corpus, text_parts.encoded_part):  # fmt: skip
            cached.cache_clear()
        for module in ("mine", "evilmod"):
            sys.modules.pop(module, None)
        EVENTS.clear()
        code, out, err = None, "", ""
        try:
            code, out, err = action()
        except BaseException:
            err = traceback.format_exc()
        self.steps.append(
            {"kind": kind, "name": name, "code": code, "out": out, "err": err,
             "events": list(EVENTS)}
        )  # fmt: skip


def commands(
    recorder: Recorder, kinds: list[str], store: str, names: list[str], runs: list[str]
) -> None:
    from tests.cli.command import run_command

    for command in kinds:
        for form in READING.get(command, []):
            targets = names if "EXPERIMENT" in form else runs if "RUN" in form else [""]
            for target in targets:
                words = [target if word in ("EXPERIMENT", "RUN") else word for word in form]
                recorder.step(
                    command, " ".join(words), lambda w=words: run_command(*w, "--store", store)
                )


def pages(recorder: Recorder, store: str, numbers: list[int], runs: list[str]) -> None:
    from starlette.testclient import TestClient

    from ablab.serve.app import make_app

    app = make_app(Path(store), loopback=True, token=None)
    browser = TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)
    values = {"{number}": numbers, "{run}": runs}
    for route in app._app.routes:
        name = next((each for each in values if each in route.path), None)
        for value in values[name] if name else [""]:
            path = route.path.replace(name, str(value)) if name else route.path

            def get(path=path):
                answer = browser.get(path)
                return answer.status_code, answer.text, ""

            recorder.step("serve", path, get)


def frames(recorder: Recorder, store: str, names: list[str], runs: list[str]) -> None:
    import ablab

    opened = ablab.open(store)

    def whole():
        found = (opened, opened.experiments, opened.runs(), opened._repr_html_())
        return 0, "\n".join(map(str, found)), ""

    recorder.step("open", "the store", whole)
    for name in names:

        def experiment(name=name):
            found = [
                opened.runs(name), opened.metrics(name), opened.measure(name, "final(train_loss)"),
                opened.readings(name), opened.effects(name), opened.verdicts(name),
                opened.plot(name)._repr_html_(),
            ]  # fmt: skip
            return 0, "\n".join(map(str, found)), ""

        recorder.step("open", f"the experiment {name}", experiment)
    for name in runs:

        def run(name=name):
            found = opened.run(name)
            parts = [found.id, found.status, found.config, found.metrics(), found.snapshots,
                     found.segments, found.captures, found.incidents,
                     found._repr_html_()]  # fmt: skip
            return 0, "\n".join(map(str, parts)), ""

        recorder.step("open", f"the run {name}", run)


def main(store: str, report: str, *chosen: str) -> None:
    import sqlite3

    with sqlite3.connect(f"{store}/index.sqlite") as connection:
        found = connection.execute("SELECT id, name FROM experiments ORDER BY id").fetchall()
        numbers, names = map(list, zip(*found, strict=True))
        runs = [run for (run,) in connection.execute(
            "SELECT min(run) FROM members GROUP BY experiment ORDER BY experiment")]  # fmt: skip
    connection.close()
    import ablab.api  # noqa: F401 (what ablab itself imports is not of interest)

    listen()
    recorder = Recorder()
    kinds = list(chosen) or [*READING, "open"]
    commands(recorder, kinds, store, names, runs)
    if "open" in kinds:
        frames(recorder, store, names, runs)
    if "serve" in kinds:
        pages(recorder, store, numbers, runs)
    Path(report).write_text(json.dumps(recorder.steps))


if __name__ == "__main__":
    main(*sys.argv[1:])
