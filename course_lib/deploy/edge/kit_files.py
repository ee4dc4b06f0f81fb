"""A built kit as it lies on this disk, verified file by file against its manifest before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from course_lib.deploy.edge.copying import KitFile
from course_lib.deploy.edge.manifest import NAME, Manifest, read_manifest
from course_lib.errors import CourseError
from course_lib.storage.files import sha256, user_path

_DIGITS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Kit:
    """A kit whose files are those of its manifest.

    Args:
        path: its folder.
        manifest: what it lists; its ``sha256`` is the kit's identity.
        files: all files, the manifest last.
    """

    path: Path
    manifest: Manifest
    files: list[KitFile]

    @property
    def sha256(self) -> str:
        """Of the manifest."""
        return self.manifest.sha256


def read_kit(path: str | Path) -> Kit:
    """The kit in this folder. Raises: CourseError: no kit, or a file that is missing or altered."""
    folder = user_path(path)
    mend = f"build it again: course kit build {folder}"
    if not (folder / NAME).is_file():
        raise CourseError(
            f"no kit in this folder: it has no {NAME}",
            path=folder,
            mend="name the kit's folder, or build one: course kit build OUT",
        )
    manifest = read_manifest(folder)
    files = [_file(folder, name, entry, mend) for name, entry in sorted(manifest.files.items())]
    own = folder / NAME
    return Kit(folder, manifest, [*files, KitFile(NAME, own, own.stat().st_size, manifest.sha256)])


def _file(folder: Path, name: str, value: object, mend: str) -> KitFile:
    digest = value.get("sha256") if isinstance(value, Mapping) else None
    plain = PurePosixPath(name)
    if plain.is_absolute() or ".." in plain.parts or str(plain) != name or "\\" in name or not name.isprintable():
        raise CourseError(f"the manifest names a file outside the kit ({name!r})", path=folder, mend=mend)
    if not isinstance(digest, str) or not _DIGITS.fullmatch(digest):
        raise CourseError(f"the manifest has no checksum for {name}", path=folder, mend=mend)
    path = folder / name
    if not path.is_file():
        raise CourseError("a file of the kit is missing", path=path, mend=mend)
    if sha256(path) != digest:
        raise CourseError("a file of the kit was altered since it was built", path=path, mend=mend)
    return KitFile(name, path, path.stat().st_size, digest)
