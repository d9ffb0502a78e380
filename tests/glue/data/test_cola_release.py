"""Where the original CoLA release is found, and its download."""

import pytest
from fileserver import serving, zipped

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import cola_release
from bert_paddle.glue.data.cola_release import RELEASE, SOURCES, locate

ROWS = {"in_domain_train.tsv": 8551, "in_domain_dev.tsv": 527, "out_of_domain_dev.tsv": 516}


def text(rows: int) -> str:
    return "".join(f"gj04\t{i % 2}\t{'' if i % 2 else '*'}\tSentence {i}.\n" for i in range(rows))


def release(**changed: int) -> bytes:
    counts = ROWS | {f"{name}.tsv": count for name, count in changed.items()}
    return zipped({f"cola_public/raw/{name}": text(count) for name, count in counts.items()})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files[SOURCES[0].path] = release()
        yield server


def put(folder, **rows: int) -> None:
    folder.mkdir(parents=True)
    for name in ("in_domain_train", "out_of_domain_dev"):
        (folder / f"{name}.tsv").write_text(text(rows.get(name, 8)))


@pytest.mark.parametrize("inside", ["", "raw", "cola_public/raw"])
def test_the_folder_the_one_above_or_its_parent_may_be_given(tmp_path, inside):
    raw = tmp_path / "data" / inside
    put(raw)
    said = []
    home = tmp_path / "home"
    assert locate(str(tmp_path / "data"), {}, home, said.append) == raw
    assert locate(None, {"COLA_PUBLIC_DIR": str(tmp_path / "data")}, home, said.append) == raw
    assert len(said) == 4 and "8 rows, the release has 8551" in said[0]


def test_the_whole_release_is_not_warned_of(tmp_path):
    put(tmp_path / "raw", in_domain_train=8551, out_of_domain_dev=516)
    said = []
    locate(str(tmp_path), {}, tmp_path / "home", said.append)
    assert said == []


def test_a_named_folder_without_the_files_is_an_error_and_no_download(tmp_path, server):
    with pytest.raises(DataError, match="--data_dir .*no in_domain_train.tsv and out_of_domain"):
        locate(str(tmp_path), {}, tmp_path / "home", print, server.url)
    assert server.asked == []


def test_it_is_downloaded_once_and_then_found(tmp_path, server):
    folder = locate(None, {}, tmp_path, print, server.url)
    assert folder == tmp_path / "glue" / "cola_public" / "raw"
    assert sorted(path.name for path in folder.iterdir()) == sorted(ROWS)
    assert (folder / "out_of_domain_dev.tsv").read_text() == text(516)
    asked = len(server.asked)
    assert locate(None, {}, tmp_path, print, server.url) == folder
    assert len(server.asked) == asked


def test_a_broken_connection_goes_on_where_it_stopped(tmp_path, server):
    server.stop_after = [10**9, 5000]  # the question for the size, then the file
    locate(None, {}, tmp_path, print, server.url)
    assert [wanted for _, wanted in server.asked][-1] == "bytes=5000-"


def test_another_number_of_rows_is_refused(tmp_path, server):
    server.files[SOURCES[0].path] = release(in_domain_dev=526)
    with pytest.raises(DataError, match="in_domain_dev.tsv: 526 rows, the release has 527: delete"):
        locate(None, {}, tmp_path, print, server.url)


def test_an_archive_that_is_none_is_refused_and_fetched_anew_the_next_time(tmp_path, server):
    server.files[SOURCES[0].path] = b"no archive" * 100
    with pytest.raises(DataError, match="cannot be unpacked.*COLA_PUBLIC_DIR"):
        locate(None, {}, tmp_path, print, server.url)
    server.files[SOURCES[0].path] = release()
    assert locate(None, {}, tmp_path, print, server.url).is_dir()


def test_offline_it_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError) as caught:
        locate(None, {}, tmp_path, print)
    said = str(caught.value)
    assert "give --data_dir, set COLA_PUBLIC_DIR" in said and "in_domain_train.tsv" in said
    assert f"{cola_release.BASE_URL}/{SOURCES[0].path}" in said


def test_the_row_counts_are_the_papers():
    """Warstadt et al. 2019, section 3: 8,551 sentences in-domain, 527 and 516 for development."""
    assert {name: RELEASE.official_rows(name) for name in ROWS} == {
        name: (count,) for name, count in ROWS.items()
    }
