import hashlib
import http.server
import threading

import pytest

from ablab.config import InputError
from ablab.tasks import corpora
from ablab.tasks.corpora import Download, corpus_digest, fetch_corpus, find_corpus, read_corpus

TEXT = b"To be, or not to be\n" * 10


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A corpus ``tiny`` whose public home is a server of this test's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        content = TEXT

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    download = Download(
        "tiny.txt",
        f"http://127.0.0.1:{server.server_port}/tiny.txt",
        len(TEXT),
        hashlib.sha256(TEXT).hexdigest(),
        "a test",
    )
    monkeypatch.setitem(corpora.DOWNLOADS, "tiny", download)
    monkeypatch.setenv("ABLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpora, "default_cache_folder", lambda: tmp_path / "default")
    monkeypatch.delenv("ABLAB_DATA", raising=False)
    read_corpus.cache_clear()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()
    read_corpus.cache_clear()


def test_a_corpus_is_fetched_once_into_the_cache(home, tmp_path):
    assert find_corpus("tiny") is None
    assert read_corpus("tiny") == TEXT.decode()
    assert find_corpus("tiny") == tmp_path / "cache" / "data" / "tiny.txt"
    home.content = b"gone"
    read_corpus.cache_clear()
    assert read_corpus("tiny") == TEXT.decode()


def test_a_corpus_fetched_before_the_cache_was_moved_is_found(home, tmp_path, monkeypatch):
    (tmp_path / "default" / "data").mkdir(parents=True)
    (tmp_path / "default" / "data" / "tiny.txt").write_bytes(TEXT)
    assert find_corpus("tiny") == tmp_path / "default" / "data" / "tiny.txt"
    assert not (tmp_path / "cache").exists()


def test_a_download_says_how_far_it_is(home, monkeypatch):
    monkeypatch.setattr(corpora, "_TELL_EVERY", 0.0)
    monkeypatch.setattr(corpora, "_CHUNK", 64)
    told = []
    fetch_corpus("tiny", tell=told.append)
    assert told[0] == "downloading tiny (200 bytes)"
    assert told[1:4] == ["downloaded 64 bytes", "downloaded 128 bytes", "downloaded 192 bytes"]


def test_an_interrupted_download_leaves_nothing(home, tmp_path, monkeypatch):
    def stop(self, size):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpora._Progress, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch_corpus("tiny")
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_what_comes_is_checked_and_not_kept_if_it_is_wrong(home, tmp_path):
    home.content = TEXT[:-1] + b"!"
    with pytest.raises(InputError, match="does not have the content"):
        fetch_corpus("tiny")
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_without_a_network_the_error_says_which_file_to_put_where(home, tmp_path, monkeypatch):
    unreachable = Download("tiny.txt", "http://127.0.0.1:9/tiny.txt", 5, "0" * 64, "a test")
    monkeypatch.setitem(corpora.DOWNLOADS, "tiny", unreachable)
    with pytest.raises(InputError) as caught:
        read_corpus("tiny")
    (problem,) = caught.value.problems
    assert "cannot be downloaded" in problem.message
    assert str(tmp_path / "cache" / "data" / "tiny.txt") in problem.expected
    assert "0" * 64 in problem.expected
    assert "ABLAB_DATA" in problem.expected


def test_the_data_folder_of_the_environment_comes_first(home, tmp_path, monkeypatch):
    (tmp_path / "tiny.txt").write_bytes(TEXT)
    monkeypatch.setenv("ABLAB_DATA", str(tmp_path))
    assert find_corpus("tiny") == tmp_path / "tiny.txt"
    (tmp_path / "tiny.txt").write_bytes(TEXT[:50])
    with pytest.raises(InputError, match="does not have the content"):
        find_corpus("tiny")


def test_an_unknown_corpus_suggests_the_nearest():
    with pytest.raises(InputError) as caught:
        find_corpus("python-stdlb")
    assert caught.value.problems[0].suggestion == "python-stdlib"


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\x00\x80" * 100)
    with pytest.raises(InputError, match="not UTF-8"):
        read_corpus(str(path))


def test_the_stdlib_is_ascii_and_known_by_its_content():
    text = read_corpus("python-stdlib")
    assert text.isascii()
    assert len(text) > 1_000_000
    assert corpus_digest("python-stdlib") == hashlib.sha256(text.encode()).hexdigest()
