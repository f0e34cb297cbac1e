"""What tests of bundles of snapshots share."""

import zipfile

ASKED = ("train.steps=40", "train.snapshots={every: 10}")


def own_files(store):
    folder = store.path / "snapshots"
    found = sorted(folder.glob("*/*.safetensors"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def bundle_of(store):
    (path,) = (store.path / "snapshots").glob("*.zip")
    return path


def ids(store):
    return sorted(each.run for each in store.runs())


def spoil(store, run, step):
    """Changes a byte of a snapshot's share of its bundle."""
    path = bundle_of(store)
    (row,) = store.index.rows("SELECT offset FROM bundles WHERE run = ? AND step = ?", run, step)
    content = bytearray(path.read_bytes())
    content[row["offset"] + 900] ^= 4
    path.write_bytes(content)


def extract_all(store):
    """As unzip does: every snapshot is a file of its own again."""
    with zipfile.ZipFile(bundle_of(store)) as file:
        file.extractall(store.path / "snapshots")
