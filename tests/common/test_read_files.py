"""Errors of the system are raised with the file's name; only a missing file counts as missing."""

import errno
import os
import resource
import tempfile
from pathlib import Path

import pytest

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.error_exit import disk_full_names, exit_with_one_line


def unreadable_files(folder: Path) -> dict[int, Path]:
    """A path for each error that the file system itself raises."""
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    return {
        errno.EISDIR: folder / "folder",
        errno.ELOOP: folder / "loop",
        errno.ENAMETOOLONG: folder / ("x" * 300),
    }


def test_missing_files_are_none(tmp_path):
    (tmp_path / "file").write_text("[1]")
    assert read_files.read_bytes(tmp_path / "no") is None
    assert read_files.read_bytes(tmp_path / "file" / "below") is None
    assert read_files.read_json_object(tmp_path / "file") is None
    assert not read_files.exists(tmp_path / "no") and not read_files.is_dir(tmp_path / "file")


def test_other_errors_are_raised_and_name_the_file(tmp_path):
    for number, path in unreadable_files(tmp_path).items():
        for read in (read_files.read_bytes, read_files.read_json_object):
            with pytest.raises(OSError) as caught:
                read(path)
            assert (caught.value.errno, caught.value.filename) == (number, str(path))
    for question in (read_files.exists, read_files.is_file, read_files.is_dir):
        with pytest.raises(OSError):
            question(tmp_path / "loop")


def test_too_many_open_files_is_no_missing_file(tmp_path):
    (tmp_path / "file").write_text("{}")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            read_files.read_json_object(tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.errno == errno.EMFILE


def test_an_unprivileged_user_gets_an_error():
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "file"
        path.write_text("{}")
        path.chmod(0o600)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setuid(65534)
                read_files.read_json_object(path)
            except PermissionError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_error_of_read_gets_the_name():
    with pytest.raises(OSError) as caught, read_files.errors_name(Path("a/b")):
        raise OSError(errno.EIO, "Input/output error")
    assert caught.value.filename == "a/b"


@pytest.mark.parametrize(
    "name", "EIO EACCES ESTALE EMFILE ENFILE ENOMEM ETIMEDOUT ELOOP EISDIR ENAMETOOLONG".split()
)
def test_system_errors_are_one_line(name, capsys):
    number = getattr(errno, name)
    with pytest.raises(SystemExit) as caught, exit_with_one_line():
        raise OSError(number, os.strerror(number), "out/model_2/manifest.json")
    assert caught.value.code == 1
    line = f"error: out/model_2/manifest.json: {os.strerror(number)}; "
    way_out = "allow more with ulimit -n 1024, and" if name == "EMFILE" else "fix this and"
    assert capsys.readouterr().err == f"{line}{way_out} run again\n"


def test_an_error_of_a_device_needs_no_file_name(capsys):
    with pytest.raises(SystemExit), exit_with_one_line():
        raise OSError(errno.EIO, "Input/output error")
    assert capsys.readouterr().err == "error: Input/output error; fix this and run again\n"


def test_a_full_disk_names_the_file_or_the_folder(tmp_path, capsys):
    def fail(temporary: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # write() names no file

    with pytest.raises(SystemExit), exit_with_one_line():
        atomic_files._replace(tmp_path / "a.json", fail)
    assert f"the disk is full ({tmp_path / 'a.json'}): No space" in capsys.readouterr().err
    with pytest.raises(SystemExit), exit_with_one_line(), disk_full_names("out"):
        fail(tmp_path)
    assert "the disk is full (out): No space" in capsys.readouterr().err
    with pytest.raises(SystemExit), exit_with_one_line(), disk_full_names("out"):
        raise OSError(errno.EIO, "Input/output error")  # may be of any disk
    assert capsys.readouterr().err.startswith("error: Input/output error; ")
