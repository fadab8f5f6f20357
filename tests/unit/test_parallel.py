from __future__ import annotations

import pytest

from tests.parallel import GROUPS, Group, run, split


def test_a_file_is_in_the_group_of_the_longest_path_and_in_no_other() -> None:
    groups = {"all": ["tests/a"], "one": ["tests/a/b/test_x.py"], "other": ["tests/c"]}
    files = ["tests/a/b/test_y.py", "tests/a/b/test_x.py", "tests/a/test_z.py"]
    assert split(files, groups) == {"all": ["tests/a/b/test_y.py", "tests/a/test_z.py"], "one": ["tests/a/b/test_x.py"]}


def test_a_file_that_no_group_has_is_named() -> None:
    with pytest.raises(SystemExit, match=r"tests/new/test_x\.py"):
        split(["tests/new/test_x.py"], GROUPS)


def test_a_group_that_fails_says_so_and_tells_its_slowest(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("tests.parallel.LOGS", tmp_path)
    for name, body in {"good": "def test_it(): pass", "bad": "def test_it(): assert False, 'broken'"}.items():
        (tmp_path / f"test_{name}.py").write_text(body)
    groups = [Group(name, [str(tmp_path / f"test_{name}.py")]) for name in ("good", "bad")]
    run(groups, jobs=2, options=["-p", "no:cacheprovider", "--noconftest"])
    assert [group.code for group in groups] == [0, 1]
    assert [len(group.tests) for group in groups] == [1, 1]
    assert "broken" in capsys.readouterr().out
    assert [list(group.failed.values()) for group in groups] == [[], ["AssertionError: broken"]]
