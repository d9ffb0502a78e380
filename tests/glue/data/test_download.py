"""Downloads: interrupted, resumed, rejected, concurrent, killed."""

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
    data_dir_entries,
    download_error,
    download_task,
    running_server,
)

from bert_paddle.common.errors import DataError, RunError
from bert_paddle.glue.data import download
from bert_paddle.glue.data.download import OFFICIAL_FILES, ensure_downloaded
from bert_paddle.glue.data.tsv import find_task_dir, read_task_file
from bert_paddle.glue.tasks import GLUE, TASKS

MRPC = TASKS["MRPC"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_server() as server:
        yield server


def test_a_zip_is_unpacked_into_the_task_folder(tmp_path, server, capsys):
    folder = download_task(tmp_path, server)
    assert folder == tmp_path / "glue" / "SST-2"
    assert {p.name: p.read_text() for p in folder.iterdir()} == SST2_FILES
    assert data_dir_entries(tmp_path) == ["SST-2"]
    assert find_task_dir(SST2, None, {}, tmp_path).folder == folder
    assert len(read_task_file(SST2, folder / "train.tsv", "train")) == 20_000
    assert folder.stat().st_mode & 0o777 == 0o755
    assert f"downloading {server.url}/glue/data/SST-2.zip" in capsys.readouterr().err


def test_existing_files_are_not_downloaded_again(tmp_path, server):
    download_task(tmp_path, server)
    download_task(tmp_path, server)
    assert len(server.requests) == 1


def test_a_broken_connection_is_resumed(tmp_path, server):
    server.stop_after = [300_000, 200_000]
    download_task(tmp_path, server)
    ranges = [byte_range for _, byte_range in server.requests]
    assert ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_run_resumes_the_download(tmp_path, server):
    server.stop_after = [300_000, 0]
    assert f"300000 of {len(SST2_ZIP)} bytes are kept" in download_error(tmp_path, server)
    assert data_dir_entries(tmp_path) == ["SST-2.zip.part"]
    server.requests.clear()
    download_task(tmp_path, server)
    assert [byte_range for _, byte_range in server.requests] == ["bytes=300000-"]


def test_a_server_without_range_support_sends_the_whole_file(tmp_path, server):
    server.ranges = False
    server.stop_after = [300_000]
    folder = download_task(tmp_path, server)
    assert (folder / "train.tsv").read_text() == SST2_FILES["train.tsv"]


def test_a_range_beyond_the_file_restarts_the_download(tmp_path, server):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip.part").write_bytes(SST2_ZIP[:1000])
    server.files[SST2_SOURCE.path] = b"short"
    assert "5 bytes where" in download_error(tmp_path, server)
    assert [byte_range for _, byte_range in server.requests] == ["bytes=1000-", None]
    assert data_dir_entries(tmp_path) == []


def test_a_complete_part_file_is_used_offline(tmp_path):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip.part").write_bytes(SST2_ZIP)
    folder = ensure_downloaded(SST2, tmp_path, base_url="http://127.0.0.1:9", sources=[SST2_SOURCE])
    assert (folder / "dev.tsv").is_file()


def test_a_file_placed_by_the_user_is_used_and_kept(tmp_path):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip").write_bytes(SST2_ZIP)
    ensure_downloaded(SST2, tmp_path, base_url="http://127.0.0.1:9", sources=[SST2_SOURCE])
    assert data_dir_entries(tmp_path) == ["SST-2", "SST-2.zip"]


def test_a_wrong_file_placed_by_the_user_is_named(tmp_path, server):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip").write_bytes(b"<html>")
    message = download_error(tmp_path, server)
    assert f"{tmp_path / 'glue' / 'SST-2.zip'} is not the official file" in message
    assert data_dir_entries(tmp_path) == ["SST-2.zip"]


@pytest.mark.parametrize("junk", [b"x" * 1000, b"x" * len(SST2_ZIP), b"x" * (len(SST2_ZIP) + 1)])
def test_a_corrupt_part_file_is_replaced(tmp_path, server, junk):
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "SST-2.zip.part").write_bytes(junk)
    download_task(tmp_path, server)
    assert data_dir_entries(tmp_path) == ["SST-2"]


def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(tmp_path, server):
    corrupt = bytearray(SST2_ZIP)
    corrupt[1000] ^= 1
    server.files[SST2_SOURCE.path] = bytes(corrupt)
    message = download_error(tmp_path, server)
    assert f"instead of {SST2_SOURCE.sha256}" in message
    assert data_dir_entries(tmp_path) == []


def test_a_login_page_is_rejected_by_its_size(tmp_path, server):
    server.files[SST2_SOURCE.path] = b"<html>please log in</html>"
    message = download_error(tmp_path, server)
    assert f"26 bytes where {len(SST2_ZIP)} are expected" in message


def test_a_file_longer_than_expected_is_stopped(tmp_path, server):
    server.announce = False
    server.files[SST2_SOURCE.path] = SST2_ZIP + b"more"
    assert f"more than the {len(SST2_ZIP)} bytes expected" in download_error(tmp_path, server)
    assert data_dir_entries(tmp_path) == []


def test_offline_error_is_one_line_with_every_place_and_remedy(tmp_path, server):
    server.url = "http://127.0.0.1:9"  # the discard port, which is closed
    searched = ("--data_dir /a (no folder SST-2)", "$GLUE_DATA_DIR /b (no train.tsv)")
    message = download_error(tmp_path, server, searched=searched)
    assert message.startswith("SST-2: no data found, and the download failed: ")
    assert "refused" in message
    target = str(tmp_path / "glue" / "SST-2")
    for part in (
        *searched,
        "--data_dir,",
        "GLUE_DATA_DIR,",
        target,
        f"{server.url}/glue/data/SST-2",
    ):
        assert part in message


def test_offline_mrpc_names_all_three_files(tmp_path, server):
    server.url = "http://127.0.0.1:9"
    message = download_error(tmp_path, server, MRPC, OFFICIAL_FILES["MRPC"])
    for name in ("msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "mrpc_dev_ids.tsv"):
        assert f"/{name}" in message.partition("fetch")[2]


def test_404_is_reported(tmp_path, server):
    server.files.clear()
    assert "SST-2.zip: HTTP 404 Not Found" in download_error(tmp_path, server)


def test_official_files_are_not_added_to_a_users_folder(tmp_path, server):
    folder = tmp_path / "glue" / "SST-2"
    folder.mkdir(parents=True)
    (folder / "dev.tsv").write_text("mine")
    with pytest.raises(DataError, match="exists without train.tsv, test.tsv; move it away"):
        download_task(tmp_path, server)
    assert [p.name for p in folder.iterdir()] == ["dev.tsv"]
    assert server.requests == []


def test_an_unwritable_home_is_a_user_error(tmp_path, server):
    (tmp_path / "glue").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="set BERT_PADDLE_HOME") as caught:
        download_task(tmp_path, server)
    assert str(tmp_path / "glue") in str(caught.value)


def test_a_full_disk_is_a_run_error(tmp_path, server, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_unzip", fail)
    with pytest.raises(RunError, match="No space left on device"):
        download_task(tmp_path, server)
    assert data_dir_entries(tmp_path) == ["SST-2.zip.part"]


def test_concurrent_processes_download_once(tmp_path, server):
    server.chunk_pause = 0.01
    folders = []
    threads = [
        threading.Thread(target=lambda: folders.append(download_task(tmp_path, server)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [tmp_path / "glue" / "SST-2"] * 4
    assert len(server.requests) == 1
    assert data_dir_entries(tmp_path) == ["SST-2"]


CHILD = """
import sys
from bert_paddle.glue.data import download
from bert_paddle.glue.tasks import TASKS
home, url, size, sha256, stop = sys.argv[1:]
if stop == "while unpacking":
    import os, signal
    download.shutil.copyfileobj = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
source = download.RemoteFile("glue/data/SST-2.zip", int(size), sha256)
download.ensure_downloaded(TASKS["SST-2"], home, base_url=url, sources=[source])
"""


@pytest.mark.parametrize("stop", ["while receiving", "while unpacking"])
def test_a_killed_download_leaves_no_task_folder(tmp_path, server, stop):
    if stop == "while receiving":
        server.chunk_pause = 0.2
    arguments = [tmp_path, server.url, SST2_SOURCE.size, SST2_SOURCE.sha256, stop]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(download.__file__).parents[3])},
        stderr=subprocess.DEVNULL,
    )
    part = tmp_path / "glue" / "SST-2.zip.part"
    if stop == "while receiving":
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
    assert child.wait(30) == -signal.SIGKILL
    assert find_task_dir(SST2, None, {}, tmp_path).folder is None
    assert 0 < part.stat().st_size <= len(SST2_ZIP)
    server.chunk_pause = 0.0
    server.requests.clear()
    download_task(tmp_path, server)
    # Bytes received are not requested again, and the temporary folder is deleted.
    assert all(byte_range for _, byte_range in server.requests)
    assert data_dir_entries(tmp_path) == ["SST-2"]


def test_the_folder_is_renamed_last(tmp_path, server, monkeypatch):
    def interrupted(unpacked, target):
        assert sorted(p.name for p in unpacked.iterdir()) == ["dev.tsv", "test.tsv", "train.tsv"]
        raise KeyboardInterrupt

    monkeypatch.setattr(download.os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download_task(tmp_path, server)
    assert data_dir_entries(tmp_path) == ["SST-2.zip.part"]


def test_every_task_of_glue_has_official_sources():
    assert set(OFFICIAL_FILES) == {task.name for task in GLUE}
    for sources in OFFICIAL_FILES.values():
        for source in sources:
            assert len(bytes.fromhex(source.sha256)) == 32
            assert source.size > 0
    assert OFFICIAL_FILES["QNLI"][0].name == "QNLIv2.zip"
    assert [len(OFFICIAL_FILES[name]) for name in ("MRPC", "AX", "QQP")] == [3, 1, 1]
