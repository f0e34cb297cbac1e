import doctest
import json

import ablab
from ablab.store import Store
from ablab.tasks.text_config import tokenizer_json


def test_a_tokenizer_is_kept_with_the_runs_that_need_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "corpus.txt").write_text(doctest.__doc__ + doctest.DocTestRunner.__doc__)
    corpus = str(tmp_path / "corpus.txt")
    task = {"kind": "text", "corpus": corpus, "tokenizer": "bpe", "bpe_size": 280, "seq_len": 4}
    asked = {"name": "subwords", "task": task, "grid": {"task.bpe_size": [270, 280]}}
    trained = ablab.experiment(asked)
    store = Store(tmp_path / "lab", create=True)
    for _ in range(2):
        store.register(trained, "", {})
    trajectories = [
        json.loads(row["trajectory"]) for row in store.index.rows("SELECT trajectory FROM runs")
    ]
    digests = [trajectory["task"]["tokenizer_sha256"] for trajectory in trajectories]
    kept = {path.stem: path for path in (tmp_path / "lab" / "tokenizers").iterdir()}
    assert len(kept) == 2
    assert set(kept) == set(digests)
    contents = {tokenizer_json(variant.parts.task) for variant in trained.variants}
    assert {path.read_text() for path in kept.values()} == contents
    paths = [str(path) for path in kept.values()]
    again = ablab.experiment(
        {
            "name": "files",
            "task": {"kind": "text", "corpus": corpus, "seq_len": 4},
            "grid": {"task.tokenizer": paths},
        }
    )
    assert {run.id for run in again.runs} == {run.id for run in trained.runs}
    store.close()


def test_characters_leave_no_tokenizer(tmp_path, tiny):
    store = Store(tmp_path / "lab", create=True)
    store.register(ablab.experiment(tiny), "", {})
    assert not (tmp_path / "lab" / "tokenizers").exists()
    store.close()
