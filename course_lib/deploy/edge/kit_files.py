"""A built kit as it lies on this disk, verified file by file against its manifest before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from course_lib.deploy.edge.copying import KitFile
from course_lib.errors import CourseError
from course_lib.storage.files import read_json, sha256, user_path

MANIFEST = "manifest.json"
_DIGITS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Kit:
    """A kit whose files are those of its manifest.

    Args:
        path: its folder.
        sha256: of the manifest, which is the kit's identity.
        files: all of them, the manifest last.
        manifest: its content.
    """

    path: Path
    sha256: str
    files: list[KitFile]
    manifest: dict


def read_kit(path: str | Path) -> Kit:
    """The kit in this folder. Raises: CourseError: no kit, or a file that is missing or altered."""
    folder = user_path(path)
    mend = f"course kit build {folder}"
    manifest = read_json(folder / MANIFEST, mend=mend)
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise CourseError("not a kit's manifest (it lists no files)", path=folder / MANIFEST, mend=mend)
    files = [_file(folder, name, value, mend) for name, value in sorted(listed.items())]
    own = folder / MANIFEST
    digest = sha256(own)
    return Kit(folder, digest, [*files, KitFile(MANIFEST, own, own.stat().st_size, digest)], manifest)


def _file(folder: Path, name: str, value: object, mend: str) -> KitFile:
    digest = value.get("sha256") if isinstance(value, dict) else value
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
