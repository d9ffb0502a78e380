"""Which folders and files of the cache are trusted."""

import os
import re
from pathlib import Path

import pytest

from bert_paddle.common import own_cache, runtime

STRANGER = 12345  # a user id


def give_away(path, monkeypatch):
    """Make a file or folder look like another user's."""
    if os.geteuid() == 0:
        os.lchown(path, STRANGER, -1)
    else:  # only root may do that: pretend to be another user
        monkeypatch.setattr(own_cache.os, "geteuid", lambda: STRANGER)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_missing_folders_are_created_for_their_owner_alone(cache):
    folder = own_cache.open_folder("kernels")
    assert folder == cache / "bert_paddle" / "kernels"
    for path in (folder, folder.parent, cache):
        assert path.stat().st_mode & 0o777 == 0o700
    assert own_cache.problem("kernels") == ""


@pytest.mark.parametrize("part", [".", "bert_paddle", "bert_paddle/kernels"])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write(cache, part, mode):
    own_cache.open_folder("kernels")
    (cache / part).chmod(mode)
    expected = f"{re.escape(str(cache / part))} can be written by other users.* XDG_CACHE_HOME"
    with pytest.raises(own_cache.UntrustedError, match=expected):
        own_cache.open_folder("kernels")
    assert re.match(expected, own_cache.problem("kernels"))


@pytest.mark.parametrize("part", ["bert_paddle", "bert_paddle/kernels"])
def test_a_folder_of_another_user(cache, part, monkeypatch):
    own_cache.open_folder("kernels")
    give_away(cache / part, monkeypatch)
    with pytest.raises(own_cache.UntrustedError, match=f"belongs to the user with id|{STRANGER}"):
        own_cache.open_folder("kernels")


def test_nothing_is_created_in_a_folder_of_others(cache):
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    with pytest.raises(own_cache.UntrustedError):
        own_cache.open_folder("kernels")
    assert not list(cache.iterdir())


def test_the_sticky_bit_protects_a_folder(cache):
    cache.mkdir()
    cache.chmod(0o1777)
    assert own_cache.open_folder("kernels").is_dir()


def test_a_link_is_judged_by_its_target(cache, tmp_path):
    target = tmp_path / "shared"
    target.mkdir()
    target.chmod(0o777)
    (cache / "bert_paddle").mkdir(parents=True)
    (cache / "bert_paddle" / "kernels").symlink_to(target)
    with pytest.raises(own_cache.UntrustedError, match="shared can be written"):
        own_cache.open_folder("kernels")
    target.chmod(0o700)
    # Without the link, which another process could turn to another folder later.
    assert own_cache.open_folder("kernels") == target


def test_files(cache, tmp_path, monkeypatch):
    path = own_cache.open_folder("kernels") / "a.so"
    path.write_bytes(b"code")
    with own_cache.open_file(path) as file:
        assert file.read() == b"code"
    path.chmod(0o722)
    with pytest.raises(own_cache.UntrustedError, match="can be written by other users"):
        own_cache.open_file(path)
    path.chmod(0o700)
    (path.parent / "link").symlink_to(path)
    with pytest.raises(OSError):
        own_cache.open_file(path.parent / "link")
    give_away(path, monkeypatch)
    with pytest.raises(own_cache.UntrustedError, match="belongs to"):
        own_cache.open_file(path)


def test_a_relative_cache_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("cache", ".", "./a", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert runtime.cache_dir() == tmp_path / ".cache" / "bert_paddle"
    monkeypatch.setenv("HOME", "home")
    assert runtime.cache_dir() == Path("/nonexistent/bert_paddle")
    monkeypatch.setenv("XDG_CACHE_HOME", "~other/cache")
    assert runtime.cache_dir() == Path("/nonexistent/bert_paddle")


def test_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(own_cache.tempfile, "tempdir", str(tmp_path))
    with own_cache.temporary_folder() as folder:
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    tmp_path.chmod(0o777)
    with pytest.raises(own_cache.UntrustedError, match="set TMPDIR"), own_cache.temporary_folder():
        pass
