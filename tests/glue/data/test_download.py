"""Downloading: interrupted, resumed, refused, by several at once, killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fileserver import (
    SST2,
    SST2_FILES,
    SST2_SOURCE,
    SST2_ZIP,
    fetch,
    left,
    refused,
    serving,
)

from bert_paddle.common.errors import DataError, RunError
from bert_paddle.glue.data import download
from bert_paddle.glue.data.download import SOURCES, ensure
from bert_paddle.glue.data.tsv import find, load
from bert_paddle.glue.tasks import TASKS

MRPC = TASKS["MRPC"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


def test_a_zip_becomes_the_tasks_folder(tmp_path, server, capsys):
    folder = fetch(tmp_path, server)
    assert folder == tmp_path / "glue" / "SST-2"
    assert {p.name: p.read_text() for p in folder.iterdir()} == SST2_FILES
    assert left(tmp_path) == ["SST-2"]
    assert find(SST2, None, {}, tmp_path).folder == folder
    assert len(load(SST2, folder / "train.tsv", "train")) == 20_000
    assert folder.stat().st_mode & 0o777 == 0o755
    assert f"downloading {server.url}/glue/data/SST-2.zip" in capsys.readouterr().err


def test_what_is_there_is_not_fetched_again(tmp_path, server):
    fetch(tmp_path, server)
    fetch(tmp_path, server)
    assert len(server.asked) == 1


def test_a_broken_connection_is_resumed_where_it_broke(tmp_path, server):
    server.stop_after = [300_000, 200_000]
    fetch(tmp_path, server)
    ranges = [wanted for _, wanted in server.asked]
    assert ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_run_goes_on_where_the_last_one_ended(tmp_path, server):
    server.stop_after = [300_000, 0]
    assert f"300000 of {len(SST2_ZIP)} bytes are kept" in refused(tmp_path, server)
    assert left(tmp_path) == ["SST-2.zip.part"]
    server.asked.clear()
    fetch(tmp_path, server)
    assert [wanted for _, wanted in server.asked] == ["bytes=300000-"]


def test_a_server_without_ranges_sends_the_whole_again(tmp_path, server):
    server.ranges = False
    server.stop_after = [300_000]
    folder = fetch(tmp_path, server)
    assert (folder / "train.tsv").read_text() == SST2_FILES["train.tsv"]


def test_a_range_beyond_the_servers_file_begins_again(tmp_path, server):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip.part").write_bytes(SST2_ZIP[:1000])
    server.files[SST2_SOURCE.path] = b"short"
    assert "5 bytes where" in refused(tmp_path, server)
    assert [wanted for _, wanted in server.asked] == ["bytes=1000-", None]
    assert left(tmp_path) == []


def test_a_whole_part_is_used_without_the_network(tmp_path):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip.part").write_bytes(SST2_ZIP)
    folder = ensure(SST2, tmp_path, base_url="http://127.0.0.1:9", sources=[SST2_SOURCE])
    assert (folder / "dev.tsv").is_file()


def test_a_file_fetched_by_hand_is_used_and_left(tmp_path):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip").write_bytes(SST2_ZIP)
    ensure(SST2, tmp_path, base_url="http://127.0.0.1:9", sources=[SST2_SOURCE])
    assert left(tmp_path) == ["SST-2", "SST-2.zip"]


def test_a_wrong_file_fetched_by_hand_is_named(tmp_path, server):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip").write_bytes(b"<html>")
    message = refused(tmp_path, server)
    assert f"{tmp_path / 'glue' / 'SST-2.zip'} is not the official file" in message
    assert left(tmp_path) == ["SST-2.zip"]


@pytest.mark.parametrize("junk", [b"x" * 1000, b"x" * len(SST2_ZIP), b"x" * (len(SST2_ZIP) + 1)])
def test_junk_left_over_does_not_stand_in_the_way(tmp_path, server, junk):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip.part").write_bytes(junk)
    fetch(tmp_path, server)
    assert left(tmp_path) == ["SST-2"]


def test_a_wrong_checksum_is_refused_and_nothing_kept(tmp_path, server):
    corrupt = bytearray(SST2_ZIP)
    corrupt[1000] ^= 1
    server.files[SST2_SOURCE.path] = bytes(corrupt)
    message = refused(tmp_path, server)
    assert f"instead of {SST2_SOURCE.sha256}" in message
    assert left(tmp_path) == []


def test_a_login_page_is_refused_by_its_size(tmp_path, server):
    server.files[SST2_SOURCE.path] = b"<html>please log in</html>"
    message = refused(tmp_path, server)
    assert f"26 bytes where {len(SST2_ZIP)} are expected" in message


def test_an_endless_file_is_stopped(tmp_path, server):
    server.announce = False
    server.files[SST2_SOURCE.path] = SST2_ZIP + b"more"
    assert f"more than the {len(SST2_ZIP)} bytes expected" in refused(tmp_path, server)
    assert left(tmp_path) == []


def test_offline_is_one_line_with_every_place_and_way_out(tmp_path, server):
    server.url = "http://127.0.0.1:9"  # nobody listens on the discard port
    looked = ("--data_dir /a (no folder SST-2)", "$GLUE_DATA_DIR /b (no train.tsv)")
    message = refused(tmp_path, server, looked=looked)
    assert message.startswith("SST-2: no data found and no download: ")
    assert "refused" in message
    target = str(tmp_path / "glue" / "SST-2")
    for part in (*looked, "--data_dir,", "GLUE_DATA_DIR,", target, f"{server.url}/glue/data/SST-2"):
        assert part in message


def test_offline_mrpc_names_all_three_files(tmp_path, server):
    server.url = "http://127.0.0.1:9"
    message = refused(tmp_path, server, MRPC, SOURCES["MRPC"])
    for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "mrpc_dev_ids.tsv"):
        assert f"/{name}" in message.partition("fetch")[2]


def test_404_is_named(tmp_path, server):
    server.files.clear()
    assert "SST-2.zip: HTTP 404 Not Found" in refused(tmp_path, server)


def test_official_files_are_not_put_beside_somebodys_own(tmp_path, server):
    own = tmp_path / "glue" / "SST-2"
    own.mkdir(parents=True)
    (own / "dev.tsv").write_text("mine")
    with pytest.raises(DataError, match="is there without train.tsv, test.tsv; move it away"):
        fetch(tmp_path, server)
    assert [p.name for p in own.iterdir()] == ["dev.tsv"]
    assert server.asked == []


def test_a_home_that_cannot_be_written_is_the_users_mistake(tmp_path, server):
    (tmp_path / "glue").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="set BERT_PADDLE_HOME") as caught:
        fetch(tmp_path, server)
    assert str(tmp_path / "glue") in str(caught.value)


def test_a_full_disk_is_a_fault_of_the_run(tmp_path, server, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_unzip", full)
    with pytest.raises(RunError, match="No space left on device"):
        fetch(tmp_path, server)
    assert left(tmp_path) == ["SST-2.zip.part"]


def test_several_at_once_download_once(tmp_path, server):
    server.chunk_pause = 0.01
    folders = []
    threads = [
        threading.Thread(target=lambda: folders.append(fetch(tmp_path, server))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [tmp_path / "glue" / "SST-2"] * 4
    assert len(server.asked) == 1
    assert left(tmp_path) == ["SST-2"]


CHILD = """
import sys
from bert_paddle.glue import download
from bert_paddle.glue.tasks import TASKS
home, url, size, sha256, stop = sys.argv[1:]
if stop == "while unpacking":
    import os, signal
    download.shutil.copyfileobj = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
source = download.Source("glue/data/SST-2.zip", int(size), sha256)
download.ensure(TASKS["SST-2"], home, base_url=url, sources=[source])
"""


@pytest.mark.parametrize("stop", ["while receiving", "while unpacking"])
def test_a_killed_download_leaves_nothing_that_looks_whole(tmp_path, server, stop):
    if stop == "while receiving":
        server.chunk_pause = 0.2
    arguments = [tmp_path, server.url, SST2_SOURCE.size, SST2_SOURCE.sha256, stop]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(download.__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    part = tmp_path / "glue" / "SST-2.zip.part"
    if stop == "while receiving":
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
    assert child.wait(30) == -signal.SIGKILL
    assert find(SST2, None, {}, tmp_path).folder is None
    assert 0 < part.stat().st_size <= len(SST2_ZIP)
    server.chunk_pause = 0.0
    server.asked.clear()
    fetch(tmp_path, server)
    # The bytes received are not asked for again, and the half-unpacked folder is gone.
    assert all(wanted for _, wanted in server.asked)
    assert left(tmp_path) == ["SST-2"]


def test_the_folder_gets_its_name_last(tmp_path, server, monkeypatch):
    def interrupted(unpacked, target):
        assert sorted(p.name for p in unpacked.iterdir()) == ["dev.tsv", "test.tsv", "train.tsv"]
        raise KeyboardInterrupt

    monkeypatch.setattr(download.os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, server)
    assert left(tmp_path) == ["SST-2.zip.part"]


def test_every_task_has_official_sources():
    assert set(SOURCES) == set(TASKS)
    for sources in SOURCES.values():
        for entry in sources:
            assert len(bytes.fromhex(entry.sha256)) == 32
            assert entry.size > 0
    assert SOURCES["QNLI"][0].name == "QNLIv2.zip"
    assert [len(SOURCES[name]) for name in ("MRPC", "AX", "QQP")] == [3, 1, 1]
