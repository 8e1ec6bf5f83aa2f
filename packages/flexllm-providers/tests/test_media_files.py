"""Local files: only below the root, whatever a row names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from flexllm_core.errors import ConfigError, InputError
from flexllm_providers.media import files as media_files
from flexllm_providers.media.files import MediaRoot, file_name


@pytest.fixture
def folder(tmp_path):
    """A root with a file in it, one in a folder, and a secret beside it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a")
    (root / "sub" / "b c.txt").write_bytes(b"b")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "x.txt").write_bytes(b"secret")
    return root


@pytest.mark.parametrize("reference", ["a.txt", "./a.txt", "sub/b c.txt", "sub//b c.txt", "sub/./b c.txt"])
def test_relative_paths_start_at_the_root(folder, reference):
    """Not at the current folder."""
    assert MediaRoot(folder).read(reference, 10) in (b"a", b"b")


def test_absolute_paths_and_file_urls_below_the_root_are_read(folder):
    """Also with escapes, upper case and a host that is this one."""
    root = MediaRoot(folder)
    assert root.read(str(folder / "a.txt"), 10) == b"a"
    assert root.read(f"file://{folder}/a.txt", 10) == b"a"
    assert root.read(f"FILE://localhost{folder}/sub/b%20c.txt", 10) == b"b"
    assert root.read(f"file:{folder}/a.txt", 10) == b"a"


@pytest.mark.parametrize(
    "reference",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "FILE:///etc/passwd",
        "file://localhost/etc/passwd",
        "../secret.txt",
        "sub/../../secret.txt",
        "sub/../a.txt",
        "..\\secret.txt",
        "..",
        "file:../secret.txt",
        "file:///%2e%2e/etc/passwd",
        "%2e%2e/secret.txt",
        "~/.ssh/id_rsa",
        "~root/x",
        "file:~/x",
        "//server/share/a.png",
        "\\\\server\\share\\a.png",
        "file://server/share/a.png",
        "file:////server/share/a.png",
        "file://169.254.169.254/a.png",
        "file:///etc/passwd?x",
        "file:///etc/passwd#x",
        "file://[::1/x",
        "a.txt\x00.png",
        "file:///etc/passwd%00.png",
        "a\n.txt",
        "",
        ".",
        "/",
        "sub",
        "no-such-file.txt",
        "a.txt/inner",
        "x" * 5000,
        "/proc/self/environ",
        "/dev/zero",
    ],
)
def test_everything_else_is_refused(folder, reference):
    """Outside, above, of other users and machines, folders, and what is not there."""
    with pytest.raises(InputError):
        MediaRoot(folder).read(reference, 1000)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("~/.ssh/id_rsa", "`~` is not expanded"),
        ("sub/../a.txt", "`..` is refused"),
        ("//server/share/a.png", "a path of another machine"),
        ("\\\\server\\share\\a.png", "a path of another machine"),
        ("file:////server/share/a.png", "a path of another machine"),
        ("file://server/share/a.png", "a file of another machine"),
        ("file:///a.txt?x", "no query or fragment"),
        ("file:///a.txt#x", "no query or fragment"),
        ("file:///a%00.txt", "a control character"),
        ("file://[::1/x", "no file URL"),
        ("sub", "no regular file"),
        ("nothing.txt", "no such file"),
    ],
)
def test_a_refusal_says_why(folder, reference, why):
    """For a person who wrote the row; such paths are refused by what they say, before the disk is asked."""
    with pytest.raises(InputError, match=why):
        MediaRoot(folder).read(reference, 1000)


def test_a_sibling_whose_name_begins_alike_is_outside(folder):
    """`root-2` is not below `root`."""
    with pytest.raises(InputError, match="outside the media root"):
        MediaRoot(folder).read(str(folder.parent / "root-2" / "x.txt"), 100)


def test_whether_a_file_outside_exists_is_not_told(folder):
    """The message is the same, so that a row cannot ask what is on the machine."""
    root = MediaRoot(folder)
    told = []
    for name in ("secret.txt", "absent.txt"):
        with pytest.raises(InputError) as caught:
            root.read(str(folder.parent / name), 100)
        told.append(str(caught.value).replace(name[:6], "<name>"))
    assert told[0] == told[1]


def test_a_link_that_leads_out_is_refused(folder):
    """Of a file, of a folder, and over another link."""
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "out").symlink_to(folder.parent)
    (folder / "over").symlink_to("out")
    (folder / "relative.txt").symlink_to("../secret.txt")
    root = MediaRoot(folder)
    for reference in ("link.txt", "out/secret.txt", "over/secret.txt", "relative.txt"):
        with pytest.raises(InputError, match="outside the media root"):
            root.read(reference, 100)


def test_a_link_that_stays_inside_is_followed(folder):
    """Data sets are made of links."""
    (folder / "link.txt").symlink_to("sub/b c.txt")
    (folder / "links").symlink_to("sub")
    root = MediaRoot(folder)
    assert root.read("link.txt", 10) == b"b"
    assert root.read("links/b c.txt", 10) == b"b"


def test_a_link_to_itself_ends(folder):
    """With an error."""
    (folder / "loop").symlink_to("loop")
    with pytest.raises(InputError):
        MediaRoot(folder).read("loop", 10)


def test_the_root_may_be_a_link(folder, tmp_path):
    """What counts is where it leads."""
    (tmp_path / "alias").symlink_to(folder)
    root = MediaRoot(tmp_path / "alias")
    assert root.read("a.txt", 10) == b"a"
    assert root.read(str(tmp_path / "alias" / "a.txt"), 10) == b"a"


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_that_appears_between_check_and_reading_is_refused(folder, monkeypatch, swapped):
    """Somebody else may write into the root: what was checked is what is opened."""
    check = os.path.realpath

    def check_then_swap(path, *more):
        real = check(path, *more)
        if str(path).endswith("b c.txt"):
            if swapped == "file":
                (folder / "sub" / "b c.txt").unlink()
                (folder / "sub" / "b c.txt").symlink_to(folder.parent / "secret.txt")
            else:
                (folder.parent / "b c.txt").write_bytes(b"secret")
                (folder / "sub").rename(folder / "was-sub")
                (folder / "sub").symlink_to(folder.parent)
        return real

    root = MediaRoot(folder)
    monkeypatch.setattr(media_files.os.path, "realpath", check_then_swap)
    with pytest.raises(InputError, match="cannot be read"):
        root.read("sub/b c.txt", 100)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hold_the_thread(folder):
    """Nobody writes into it; opening it would wait for ever."""
    os.mkfifo(folder / "pipe.png")
    failures = []

    def read():
        try:
            MediaRoot(folder).read("pipe.png", 10)
        except InputError as error:
            failures.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert failures == ["'pipe.png' is no regular file"]


def test_a_file_above_the_limit_is_refused(folder):
    """The limit itself is allowed; a larger file is not read to its end."""
    (folder / "big.bin").write_bytes(b"x" * 101)
    root = MediaRoot(folder)
    assert len(root.read("big.bin", 101)) == 101
    with pytest.raises(InputError, match="larger than the limit of 100 bytes"):
        root.read("big.bin", 100)


def test_a_sparse_file_of_a_terabyte_costs_nothing(folder):
    """Only the limit and one byte are read."""
    with open(folder / "huge.bin", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="larger than the limit"):
        MediaRoot(folder).read("huge.bin", 1000)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(folder):
    """The reason is the system's."""
    (folder / "a.txt").chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        MediaRoot(folder).read("a.txt", 10)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's list of descriptors")
def test_no_descriptor_stays_open(folder):
    """Neither after a file nor after a refusal."""
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    root = MediaRoot(folder)
    before = len(os.listdir("/proc/self/fd"))
    for reference in ["a.txt", "sub/b c.txt", "sub", "link.txt", "nothing", "sub/nothing", "a.txt/x"] * 3:
        try:
            root.read(reference, 10)
        except InputError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_systems_without_descriptors_of_folders_read_too(folder, monkeypatch):
    """As on Windows, where a path is opened whole."""
    monkeypatch.setattr(media_files.os, "supports_dir_fd", set())
    root = MediaRoot(folder)
    assert root.read("sub/b c.txt", 10) == b"b"
    with pytest.raises(InputError, match="outside"):
        root.read("/etc/passwd", 10)


@pytest.mark.parametrize("name", ["nothing", "root/a.txt"])
def test_a_root_that_is_no_folder_is_a_configuration_error(tmp_path, folder, name):
    """It is told at once, not by each row."""
    with pytest.raises(ConfigError, match="media_root"):
        MediaRoot(tmp_path / name)


def test_the_users_own_root_may_begin_with_a_tilde(folder, monkeypatch):
    """The root is the user's choice, not a row's."""
    monkeypatch.setenv("HOME", str(folder.parent))
    assert MediaRoot(Path("~/root")).read("a.txt", 10) == b"a"


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("a/b/c.png", "c.png"),
        ("c.png", "c.png"),
        ("a\\b\\c.png", "c.png"),
        ("file:///a/b%20c.pdf", "b c.pdf"),
        ("https://example.com/x/y.pdf?token=secret#z", "y.pdf"),
        ("https://example.com", ""),
        ("https://example.com/a%2f..%2fb", "b"),
    ],
)
def test_the_name_of_a_file(reference, name):
    """Without folders, query and escapes."""
    assert file_name(reference) == name
