from __future__ import annotations

import os

import pytest


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "allowed"
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "a.txt").write_text("alpha\n")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setenv("SMOLCHAT_FILES_ROOT", str(root))
    return root


def test_files_are_read_and_listed(tools, root):
    assert tools["read_file"]("notes/a.txt") == "alpha\n"
    assert tools["list_files"]() == "notes/"
    assert tools["list_files"]("notes") == "a.txt"


def test_the_current_folder_is_the_root_without_the_variable(tools, root, monkeypatch):
    monkeypatch.delenv("SMOLCHAT_FILES_ROOT")
    monkeypatch.chdir(root / "notes")
    assert tools["read_file"]("a.txt") == "alpha\n"
    with pytest.raises(ValueError, match="outside"):
        tools["list_files"]("..")


@pytest.mark.parametrize("path", ["../secret.txt", "notes/../../secret.txt", "/etc/hostname"])
def test_a_path_cannot_leave_the_root(tools, root, path):
    with pytest.raises(ValueError, match="outside the allowed folder"):
        tools["read_file"](path)


def test_a_link_cannot_leave_the_root(tools, root):
    (root / "file_link").symlink_to(root.parent / "secret.txt")
    (root / "folder_link").symlink_to(root.parent)
    for path in ("file_link", "folder_link/secret.txt"):
        with pytest.raises(ValueError, match="outside the allowed folder"):
            tools["read_file"](path)
    with pytest.raises(ValueError, match="outside the allowed folder"):
        tools["list_files"]("folder_link")


def test_a_folder_whose_name_begins_like_the_root_is_outside(tools, root):
    (root.parent / "allowed_not").mkdir()
    with pytest.raises(ValueError, match="outside"):
        tools["list_files"]("../allowed_not")


def test_what_is_no_small_text_file_is_refused(tools, root):
    (root / "large.txt").write_bytes(b"a" * (64 * 1024 + 1))
    (root / "binary").write_bytes(b"a\0b")
    os.mkfifo(root / "pipe")
    complaints = {
        "large.txt": "larger than",
        "binary": "not a text file",
        "pipe": "not a file",
        "notes": "not a file",
        "missing": "does not exist",
        "a\0b": "zero byte",
    }
    for path, complaint in complaints.items():
        with pytest.raises(ValueError, match=complaint):
            tools["read_file"](path)


def test_a_long_listing_is_cut_with_a_count(tools, root):
    for number in range(205):
        (root / "notes" / f"{number:03}").touch()
    lines = tools["list_files"]("notes").splitlines()
    assert len(lines) == 201
    assert lines[-1] == "and 6 more"
