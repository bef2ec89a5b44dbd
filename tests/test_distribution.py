import pytest

from nbtool._distribution import check_distribution, installed_beside


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site-packages"
    (folder / "nbtool").mkdir(parents=True)
    return folder


def package_file(folder):
    return str(folder / "nbtool" / "__init__.py")


def add(folder, *names):
    [(folder / name).mkdir() for name in names]


OURS = ["nbtool_live-0.1.0.dist-info", "nbtool-live-0.1.0.dist-info", "NBTool.Live-1.dist-info",
        "nbtool_live-0.1.0-py3.11.egg-info"]  # fmt: skip
FOREIGN = ["nbtool-0.0.7.dist-info", "NBTOOL-1.0.dist-info", "nbtool-1.0.egg-info",
           "nbtool-1.0-py3.9.egg-info"]  # fmt: skip
NEITHER = ["nbtool", "nbtools-1.0.dist-info", "nbtool_extra-1.0.dist-info", "mynbtool-1.dist-info",
           "nbtool-extra-1.0.dist-info", "nbtool.py", "nbtool_live"]  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_our_distribution_is_found(tmp_path, name):
    add(tmp_path, name)

    assert installed_beside(str(tmp_path)) == (True, False)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_distribution_is_found(tmp_path, name):
    add(tmp_path, name)

    assert installed_beside(str(tmp_path)) == (False, True)


@pytest.mark.parametrize("name", NEITHER)
def test_other_names_are_neither(tmp_path, name):
    add(tmp_path, name)

    assert installed_beside(str(tmp_path)) == (False, False)


def test_our_distribution_alone_is_right(site):
    add(site, *OURS[:1])

    check_distribution(package_file(site))


def test_foreign_distribution_beside_ours_stops_the_import_with_the_way_out(site):
    add(site, OURS[0], FOREIGN[0])

    with pytest.raises(ImportError, match="different project") as caught:
        check_distribution(package_file(site))

    assert "pip uninstall -y nbtool nbtool-live && pip install nbtool-live" in str(caught.value)
    assert repr(str(site)) in str(caught.value)


def test_foreign_distribution_over_ours_stops_the_import(site):
    add(site, FOREIGN[0])

    with pytest.raises(ImportError, match="different project"):
        check_distribution(package_file(site))


def test_folder_without_its_distribution_stops_the_import(site):
    with pytest.raises(ImportError, match="does not belong to the distribution 'nbtool-live'"):
        check_distribution(package_file(site))


def test_checkout_is_right(tmp_path):
    add(tmp_path, "nbtool")
    (tmp_path / "pyproject.toml").touch()

    check_distribution(package_file(tmp_path))


def test_copy_beside_a_script_is_right(tmp_path):
    add(tmp_path, "nbtool")

    check_distribution(package_file(tmp_path))


def test_zip_archive_is_right(tmp_path):
    (tmp_path / "bundle.zip").touch()

    check_distribution(package_file(tmp_path / "bundle.zip"))
