import polars as pl

from ablab.store import frame_cache
from ablab.store.frame_cache import FrameCache


def test_frames_are_cached_only_in_the_context():
    frames, made = FrameCache(), []

    def make():
        made.append(1)
        return pl.DataFrame({"a": [1]})

    frames.get("a", make)
    frames.get("a", make)
    assert len(made) == 2
    with frames.caching():
        first = frames.get("a", make)
        with frames.caching():
            assert frames.get("a", make) is first
        assert frames.get("a", make) is first
        frames.get("b", make)
    assert len(made) == 4
    frames.get("a", make)
    assert len(made) == 5


def test_frames_beyond_the_limit_are_made_again(monkeypatch):
    monkeypatch.setattr(frame_cache, "MOST_BYTES", 1000)
    frames = FrameCache()
    large, small = pl.DataFrame({"a": range(1000)}), pl.DataFrame({"a": [1]})
    with frames.caching():
        assert frames.get("large", lambda: large) is large
        frames.get("small", lambda: small)
        assert frames.get("large", lambda: small) is small, "it was not cached"
        assert frames.get("small", lambda: large) is small, "it was cached"
