"""Is this `nbtool` the one of the distribution nbtool-live?

The name ``nbtool`` on the package index belongs to somebody else's package, which installs a
folder of the same name into the same place: whichever is installed last overwrites files of the
other. Looking at the folder names beside ours costs about 0.2 ms, importlib.metadata 20 ms.
"""

from __future__ import annotations

import os
import re

_OURS = re.compile(r"nbtool[-_.]live-.*\.(?:dist|egg)-info$", re.IGNORECASE)
_FOREIGN = re.compile(r"nbtool-\d.*\.(?:dist|egg)-info$", re.IGNORECASE)

_INSTALL_FOLDERS = ("site-packages", "dist-packages")  # the second is Debian's and Colab's


def installed_beside(folder: str) -> tuple[bool, bool]:
    """Tell which distributions of an ``nbtool`` folder are installed in `folder`.

    Args:
        folder: A folder on ``sys.path``, such as site-packages.

    Returns:
        Whether nbtool-live is there, and whether the foreign nbtool is there.
    """
    names = os.listdir(folder)  # noqa: PTH208 - pathlib is not loaded yet, and costs 6 ms
    return any(map(_OURS.match, names)), any(map(_FOREIGN.match, names))


def check_distribution(package_file: str) -> None:
    """Stop the import where two distributions share one ``nbtool`` folder.

    Args:
        package_file: ``__file__`` of the package.

    Raises:
        ImportError: The foreign distribution is installed over ours, or the folder was copied
            to where it is without its distribution.
    """
    folder = os.path.dirname(os.path.dirname(os.path.abspath(package_file)))  # noqa: PTH100, PTH120
    try:
        ours, foreign = installed_beside(folder)
    except OSError:  # inside a zip archive: there is no folder to look at
        return
    if foreign:
        raise ImportError(
            f"The distribution 'nbtool' (a different project) is installed in {folder!r} and "
            "shares its folder with 'nbtool-live', so files of both may be mixed.\n"
            "  Hint: pip uninstall -y nbtool nbtool-live && pip install nbtool-live"
        )
    is_checkout = os.path.exists(os.path.join(folder, "pyproject.toml"))  # noqa: PTH110, PTH118
    is_installed_into = os.path.basename(folder) in _INSTALL_FOLDERS  # noqa: PTH119
    if not ours and not is_checkout and is_installed_into:
        raise ImportError(
            f"The folder 'nbtool' in {folder!r} does not belong to the distribution "
            "'nbtool-live': that is not installed there.\n"
            "  Hint: remove the folder, then pip install nbtool-live"
        )
