"""Pickle files: written whole, with modules by value only as long as asked for."""

import stat
import sys
import threading
import types

import cloudpickle
import pytest

from nbtool.errors import MissingExtraError, SavingError, StateError
from nbtool.pickling import dumped, load_mapping, loaded, write_whole


@pytest.fixture
def module():
    made = types.ModuleType("module_by_value")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def registered():
    return "module_by_value" in cloudpickle.list_registry_pickle_by_value()


def test_modules_go_into_the_pickle_only_while_it_is_made(module):
    class Looking:
        def __reduce__(self):
            seen.append(registered())
            return (int, ())

    seen = []
    dumped(Looking(), [module])

    assert (seen, registered()) == ([True], False)


def test_module_that_the_user_registered_stays_registered(module):
    cloudpickle.register_pickle_by_value(module)
    dumped(1, [module])

    assert registered()
    cloudpickle.unregister_pickle_by_value(module)


def test_module_is_kept_while_another_pickle_needs_it(module):
    class Nested:
        def __reduce__(self):
            dumped(1, [module])
            seen.append(registered())
            return (int, ())

    seen = []
    dumped(Nested(), [module])

    assert (seen, registered()) == ([True], False)


def test_modules_are_let_go_after_a_failure(module):
    with pytest.raises(SavingError):
        dumped(threading.Lock(), [module])

    assert not registered()


@pytest.mark.parametrize("private", [True, False])
def test_file_is_replaced_whole(tmp_path, private):
    path = tmp_path / "file"
    path.write_bytes(b"before")
    write_whole(path, b"after", private=private)

    assert path.read_bytes() == b"after"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (stat.S_IMODE(path.stat().st_mode) == 0o600) is private


def test_file_that_cannot_be_replaced_leaves_no_half(tmp_path):
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "inside").write_bytes(b"")

    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_pickle_without_names_is_no_mapping(tmp_path):
    (tmp_path / "file.pkl").write_bytes(dumped([1]))

    with pytest.raises(StateError, match="holds a list"):
        load_mapping(tmp_path / "file.pkl", allow_pickle=True)


@pytest.mark.parametrize("call", [lambda path: dumped(1), loaded], ids=["dumped", "loaded"])
def test_missing_package_is_told_with_the_command(tmp_path, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)

    with pytest.raises(MissingExtraError, match="pip install cloudpickle"):
        call(tmp_path / "file")
