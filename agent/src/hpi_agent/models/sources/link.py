"""Second names for files of the store: what never changes need not be copied."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Final

NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no links.

    Raises:
        OSError: The file cannot be read or its second name not be written.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(source, target)


def link_all(source: Path, target: Path) -> None:
    """Give the files of one folder second names in another one.

    Raises:
        OSError: A file cannot be read or its second name not be written.
    """
    for path in source.iterdir():
        link(path, target / path.name)
