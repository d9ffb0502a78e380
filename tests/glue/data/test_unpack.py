"""Unpacking downloads: unsafe archives, MRPC's three files, AX's single file."""

import pytest
from fileserver import (
    SST2_FILES,
    SST2_SOURCE,
    data_dir_entries,
    download_error,
    download_task,
    make_zip,
    remote_file,
    running_server,
)

from bert_paddle.glue.data import download
from bert_paddle.glue.data.download import OFFICIAL_FILES
from bert_paddle.glue.data.tsv import read_task_file
from bert_paddle.glue.tasks import TASKS

MRPC, AX = TASKS["MRPC"], TASKS["AX"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_server() as server:
        yield server


@pytest.mark.parametrize("evil", ["../evil.tsv", "/evil.tsv", "SST-2/../../evil", "..\\evil"])
def test_an_archive_member_outside_its_folder_is_rejected(tmp_path, server, evil):
    content = make_zip({f"SST-2/{n}": t for n, t in SST2_FILES.items()} | {evil: "evil"})
    bad = remote_file(SST2_SOURCE.path, content)
    server.files[bad.path] = content
    home = tmp_path / "home"
    assert "unsafe member" in download_error(home, server, sources=[bad])
    assert [p for p in tmp_path.rglob("*evil*")] == []
    assert data_dir_entries(home) == ["SST-2.zip.part"]


def test_a_link_in_an_archive_is_rejected(tmp_path, server):
    outside = tmp_path / "outside.tsv"
    outside.write_text("kept")
    members = {f"SST-2/{n}": t for n, t in SST2_FILES.items()} | {"SST-2/dev.tsv": str(outside)}
    content = make_zip(members, links=["SST-2/dev.tsv"])
    bad = remote_file(SST2_SOURCE.path, content)
    server.files[bad.path] = content
    assert "unsafe member 'SST-2/dev.tsv'" in download_error(
        tmp_path / "home", server, sources=[bad]
    )
    assert outside.read_text() == "kept"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a zip at all", "cannot be unpacked"),
        (make_zip({"SST-2/train.tsv": "x", "SST-2/dev.tsv": "x"}), "has no SST-2/test.tsv"),
    ],
)
def test_a_broken_or_incomplete_archive_is_rejected(tmp_path, server, content, message):
    bad = remote_file(SST2_SOURCE.path, content)
    server.files[bad.path] = content
    assert message in download_error(tmp_path, server, sources=[bad])


def test_an_archive_that_unpacks_to_too_much_is_rejected(tmp_path, server, monkeypatch):
    monkeypatch.setattr(download, "MAX_UNPACKED", 100_000)
    assert "unpacks to more than 100000 bytes" in download_error(tmp_path, server)


def test_other_archive_members_are_ignored(tmp_path, server):
    members = {f"SST-2/{n}": t for n, t in SST2_FILES.items()} | {"SST-2/original/raw.txt": "x"}
    good = remote_file(SST2_SOURCE.path, make_zip(members))
    server.files[good.path] = make_zip(members)
    folder = download_task(tmp_path, server, sources=[good])
    assert sorted(p.name for p in folder.iterdir()) == ["dev.tsv", "test.tsv", "train.tsv"]


MRPC_HEADER = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


def test_mrpc_is_built_from_the_corpus_and_the_dev_ids(tmp_path, server):
    rows = ["1\t1\t2\tA .\tB .\n", "0\t3\t4\tC .\t\x85D\rd .\n", "1\t2\t1\tE .\tF .\n"]
    contents = [
        (MRPC_HEADER + "".join(rows)).encode(),
        (MRPC_HEADER + "1\t7\t8\tG .\tH .\n0\t9\t10\tI .\tJ .\n").encode(),
        b"3\t4\n1\t3\n",
    ]
    sources = [
        remote_file(s.path, content)
        for s, content in zip(OFFICIAL_FILES["MRPC"], contents, strict=True)
    ]
    server.files |= {s.path: content for s, content in zip(sources, contents, strict=True)}
    folder = download_task(tmp_path, server, MRPC, sources)
    texts = {p.name: p.read_bytes().decode() for p in folder.iterdir()}
    assert texts == {
        "train.tsv": MRPC_HEADER + rows[0] + rows[2],
        "dev.tsv": MRPC_HEADER + rows[1],
        "test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
        "0\t7\t8\tG .\tH .\n1\t9\t10\tI .\tJ .\n",
    }
    assert read_task_file(MRPC, folder / "dev.tsv", "dev").texts_b == ["\x85D\rd ."]
    assert data_dir_entries(tmp_path) == ["MRPC"]


def test_ax_is_a_single_file(tmp_path, server):
    content = b"index\tsentence1\tsentence2\n0\tp\th\n"
    ax = remote_file("glue/data/AX.tsv", content)
    server.files[ax.path] = content
    folder = download_task(tmp_path, server, AX, [ax])
    assert folder == tmp_path / "glue" / "diagnostic"
    assert (folder / "diagnostic.tsv").read_bytes() == content


@pytest.mark.real_data
def test_the_official_mrpc_files_are_rebuilt_byte_for_byte(glue_data_dir, tmp_path, server):
    """The corpus rebuilt from GLUE's files (dev rows at the end) is split back into them."""
    real = {n: (glue_data_dir / "MRPC" / n).read_bytes() for n in MRPC.files}
    train, dev, test = (real[name].splitlines(keepends=True) for name in MRPC.files)
    labelled = [b"1" + row[row.index(b"\t") :] for row in test[1:]]
    pairs = [b"\t".join(row.split(b"\t")[1:3]) + b"\n" for row in dev[1:]]
    contents = [b"".join(train + dev[1:]), b"".join([train[0], *labelled]), b"".join(pairs)]
    # The sizes are those of the published files: nothing is missing or added.
    assert [len(content) for content in contents] == [s.size for s in OFFICIAL_FILES["MRPC"]]
    sources = [
        remote_file(s.path, content)
        for s, content in zip(OFFICIAL_FILES["MRPC"], contents, strict=True)
    ]
    server.files |= {s.path: content for s, content in zip(sources, contents, strict=True)}
    folder = download_task(tmp_path, server, MRPC, sources)
    assert {n: (folder / n).read_bytes() for n in MRPC.files} == real


@pytest.mark.real_data
def test_the_official_ax_file_has_the_published_checksum(glue_data_dir):
    content = (glue_data_dir / "diagnostic" / "diagnostic.tsv").read_bytes()
    assert remote_file("glue/data/AX.tsv", content) == OFFICIAL_FILES["AX"][0]
