"""Finding and downloading the original CoLA release."""

import pytest
from fileserver import make_zip, running_server

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import cola_release
from bert_paddle.glue.data.cola_release import RELEASE, REMOTE_FILES, find_release

ROWS = {"in_domain_train.tsv": 8551, "in_domain_dev.tsv": 527, "out_of_domain_dev.tsv": 516}


def make_rows(count: int) -> str:
    return "".join(f"gj04\t{i % 2}\t{'' if i % 2 else '*'}\tSentence {i}.\n" for i in range(count))


def release_zip(**changed: int) -> bytes:
    counts = ROWS | {f"{name}.tsv": count for name, count in changed.items()}
    return make_zip({f"cola_public/raw/{name}": make_rows(count) for name, count in counts.items()})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running_server() as server:
        server.files[REMOTE_FILES[0].path] = release_zip()
        yield server


def write_release(folder, **rows: int) -> None:
    folder.mkdir(parents=True)
    for name in ("in_domain_train", "out_of_domain_dev"):
        (folder / f"{name}.tsv").write_text(make_rows(rows.get(name, 8)))


@pytest.mark.parametrize("inside", ["", "raw", "cola_public/raw"])
def test_the_raw_folder_or_a_parent_is_accepted(tmp_path, inside):
    raw = tmp_path / "data" / inside
    write_release(raw)
    warnings = []
    home = tmp_path / "home"
    assert find_release(str(tmp_path / "data"), {}, home, warnings.append) == raw
    assert (
        find_release(None, {"COLA_PUBLIC_DIR": str(tmp_path / "data")}, home, warnings.append)
        == raw
    )
    assert len(warnings) == 4 and "8 rows, the release has 8551" in warnings[0]


def test_the_complete_release_gives_no_warning(tmp_path):
    write_release(tmp_path / "raw", in_domain_train=8551, out_of_domain_dev=516)
    warnings = []
    find_release(str(tmp_path), {}, tmp_path / "home", warnings.append)
    assert warnings == []


def test_a_given_folder_without_the_files_is_an_error_without_download(tmp_path, server):
    with pytest.raises(DataError, match="--data_dir .*no in_domain_train.tsv and out_of_domain"):
        find_release(str(tmp_path), {}, tmp_path / "home", print, server.url)
    assert server.requests == []


def test_it_is_downloaded_once(tmp_path, server):
    folder = find_release(None, {}, tmp_path, print, server.url)
    assert folder == tmp_path / "glue" / "cola_public" / "raw"
    assert sorted(path.name for path in folder.iterdir()) == sorted(ROWS)
    assert (folder / "out_of_domain_dev.tsv").read_text() == make_rows(516)
    requests = len(server.requests)
    assert find_release(None, {}, tmp_path, print, server.url) == folder
    assert len(server.requests) == requests


def test_a_broken_connection_is_resumed(tmp_path, server):
    server.stop_after = [10**9, 5000]  # the request for the size, then the file
    find_release(None, {}, tmp_path, print, server.url)
    assert [byte_range for _, byte_range in server.requests][-1] == "bytes=5000-"


def test_a_wrong_row_count_is_an_error(tmp_path, server):
    server.files[REMOTE_FILES[0].path] = release_zip(in_domain_dev=526)
    with pytest.raises(DataError, match="in_domain_dev.tsv: 526 rows, the release has 527: delete"):
        find_release(None, {}, tmp_path, print, server.url)


def test_a_broken_archive_is_an_error_and_downloaded_again(tmp_path, server):
    server.files[REMOTE_FILES[0].path] = b"no archive" * 100
    with pytest.raises(DataError, match="cannot be unpacked.*COLA_PUBLIC_DIR"):
        find_release(None, {}, tmp_path, print, server.url)
    server.files[REMOTE_FILES[0].path] = release_zip()
    assert find_release(None, {}, tmp_path, print, server.url).is_dir()


def test_offline_error_names_the_files_and_remedies(tmp_path):
    with pytest.raises(DataError) as caught:
        find_release(None, {}, tmp_path, print)
    message = str(caught.value)
    assert "give --data_dir, set COLA_PUBLIC_DIR" in message and "in_domain_train.tsv" in message
    assert f"{cola_release.BASE_URL}/{REMOTE_FILES[0].path}" in message


def test_row_counts_are_those_of_the_paper():
    """Warstadt et al. 2019, section 3: 8,551 sentences in-domain, 527 and 516 for development."""
    assert {name: RELEASE.official_rows(name) for name in ROWS} == {
        name: (count,) for name, count in ROWS.items()
    }
