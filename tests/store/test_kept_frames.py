import polars as pl

from ablab.store import kept_frames
from ablab.store.kept_frames import KeptFrames


def test_frames_are_kept_only_in_the_context():
    frames, made = KeptFrames(), []

    def make():
        made.append(1)
        return pl.DataFrame({"a": [1]})

    frames.get("a", make)
    frames.get("a", make)
    assert len(made) == 2
    with frames.keeping():
        first = frames.get("a", make)
        with frames.keeping():
            assert frames.get("a", make) is first
        assert frames.get("a", make) is first
        frames.get("b", make)
    assert len(made) == 4
    frames.get("a", make)
    assert len(made) == 5


def test_frames_beyond_the_limit_are_made_again(monkeypatch):
    monkeypatch.setattr(kept_frames, "MOST_BYTES", 1000)
    frames = KeptFrames()
    large, small = pl.DataFrame({"a": range(1000)}), pl.DataFrame({"a": [1]})
    with frames.keeping():
        assert frames.get("large", lambda: large) is large
        frames.get("small", lambda: small)
        assert frames.get("large", lambda: small) is small, "it was not kept"
        assert frames.get("small", lambda: large) is small, "it was kept"
