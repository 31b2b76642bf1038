"""The package of an app: one file, the same bytes for the same content, and a manifest that needs no code to be read.

A package is a ZIP archive of stored (not compressed) entries, sorted by name, with a fixed time and mode:

* ``manifest.json``: canonical JSON (RFC 8785), :class:`StaticManifest`;
* ``README.md``, if the project has one;
* ``src/<name>/…``: Python source, UTF-8, and nothing else.

Reading writes the archive anew and compares: a file that differs by a single byte from what :func:`pack` would write is
no package, so there is one digest per content and nothing can hide between the entries.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shuyan.appkit.errors import PACKAGE_INVALID, invalid
from shuyan.appkit.reads import DeclaredArrays, DeclaredNeeds, Length, Reads
from shuyan.appkit.schema import SchemaError, model_of
from shuyan.federation.apps.base import AppManifest
from shuyan.problems import ProblemError

SUFFIX: Final = ".shuyanapp"
MAX_BYTES: Final = 2 * 1024 * 1024
MAX_FILES: Final = 200
MANIFEST: Final = "manifest.json"
README: Final = "README.md"
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_MODULE: Final = re.compile(r"src/([a-z][a-z0-9_]*)/((?:[A-Za-z_][A-Za-z0-9_]*/)*)([A-Za-z_][A-Za-z0-9_]*)\.py")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{2,39}")
_RESERVED: Final = frozenset({
    "shuyan", "node_agent", "marketplace", "shuyan_protos", "numpy", "duckdb", "flwr", "pydantic", "pydantic_core", "pyarrow",
    "pandas", "scipy", "grpc", "google", "cryptography", "rfc8785", "joserfc", "typer", "rich", "httpx", "setuptools", "pip",
    "annotated_types", "typing_extensions", "statistics", "regression", "test", "tests", "demo", "docker",
})


class StaticManifest(BaseModel):
    """All that is known of an app without running it.

    Attributes:
        format: of the package.
        app: name, version, titles, output form, actions with their vectors, questions, limits.
        params: JSON Schema of the job's parameters.
        content: JSON Schema of the result.
        reads: the columns it reads.
        arrays: by action and name, how long the arrays are that come with its questions.
        modules: what it imports besides itself.
        made_with: the SDK's version.
        files: SHA-256 by path.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal[1] = 1
    app: AppManifest
    params: dict[str, Any]
    content: dict[str, Any]
    reads: tuple[Reads, ...] = Field(min_length=1, max_length=64)
    arrays: dict[str, dict[str, Length]] = {}
    modules: tuple[str, ...] = ()
    made_with: str
    files: dict[str, str] = {}


@dataclass(frozen=True)
class Package:
    """A package that is whole and well-formed; whose it is, and whether anybody reviewed it, is another matter.

    Attributes:
        data: the file's bytes.
        digest: ``sha256:<hex>`` of them; what grants and allow-lists name.
        sources: module files by path inside ``src/``.
    """

    data: bytes = field(repr=False)
    digest: str
    manifest: StaticManifest = field(repr=False)
    sources: Mapping[str, str] = field(repr=False)
    readme: str = field(repr=False, default="")

    @property
    def name(self) -> str:
        return self.manifest.app.name

    @property
    def version(self) -> str:
        return self.manifest.app.version

    @property
    def file_name(self) -> str:
        """``NAME-VERSION.shuyanapp``"""
        return f"{self.name}-{self.version}{SUFFIX}"

    @cached_property
    def params_model(self) -> type[BaseModel]:
        """The parameters' model, rebuilt from the schema."""
        return model_of(self.manifest.params, "Params")

    @cached_property
    def content_model(self) -> type[BaseModel]:
        """The result's model, rebuilt from the schema."""
        return model_of(self.manifest.content, "Content")

    @property
    def needs(self) -> DeclaredNeeds:
        return DeclaredNeeds(self.manifest.reads)

    @property
    def arrays(self) -> DeclaredArrays:
        return DeclaredArrays(self.manifest.arrays)


def name_is_free(name: str) -> bool:
    """Whether an app may be called so: a module of that name hides nothing."""
    return bool(_NAME.fullmatch(name)) and name not in _RESERVED and name not in sys.stdlib_module_names


def _wrong(reason_zh: str, reason_en: str) -> ProblemError:
    return ProblemError(PACKAGE_INVALID, field="package", **invalid(reason_zh, reason_en))


def pack(manifest: StaticManifest, sources: Mapping[str, str], readme: str = "") -> Package:
    """The package of an app.

    Args:
        manifest: ``files`` is filled in here.
        sources: text of each module by path: ``NAME/__init__.py``.

    Raises:
        ProblemError: ``package_invalid``.
    """
    entries = {f"src/{path}": text.encode() for path, text in sources.items()}
    if readme:
        entries[README] = readme.encode()
    files = {path: sha256(content).hexdigest() for path, content in entries.items()}
    entries[MANIFEST] = rfc8785.dumps(manifest.model_copy(update={"files": files}).model_dump(mode="json"))
    return read_package(_archive(entries))


def _archive(entries: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(entries):
            info = zipfile.ZipInfo(path, _TIME)
            info.create_system, info.external_attr = 3, 0o100444 << 16
            archive.writestr(info, entries[path])
    return stream.getvalue()


def read_package(data: bytes) -> Package:
    """Read a package; everything about it is checked but who signed it.

    Raises:
        ProblemError: ``package_invalid``.
    """
    entries = _entries(data)
    try:
        raw = entries.pop(MANIFEST)
        manifest = StaticManifest.model_validate_json(raw)
        if rfc8785.dumps(manifest.model_dump(mode="json")) != raw:
            raise ValueError("not canonical")
    except (KeyError, ValidationError, ValueError, RecursionError) as error:
        raise _wrong("清单缺失或格式不对", "its manifest is missing or malformed") from error
    if manifest.files != {path: sha256(content).hexdigest() for path, content in entries.items()}:
        raise _wrong("清单与内容不符", "its manifest does not match its content")
    name = manifest.app.name
    if not name_is_free(name) or not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}", manifest.app.version):
        raise _wrong("名称或版本号不合规范", "its name or version is not allowed")
    readme = _text(entries.pop(README, b""), README)
    sources = {path.removeprefix("src/"): _source(path, content, name) for path, content in entries.items()}
    if f"{name}/__init__.py" not in sources:
        raise _wrong(f"缺少 src/{name}/__init__.py", f"src/{name}/__init__.py is missing")
    package = Package(data, f"sha256:{sha256(data).hexdigest()}", manifest, sources, readme)
    try:
        fields = package.params_model.model_fields
        _ = package.content_model
    except SchemaError as error:
        raise _wrong(f"参数或结果的模式不受支持（{error}）", f"the schema of parameters or result is not supported ({error})") from error
    if "resource" not in fields:
        raise _wrong("参数中没有 resource", "its parameters have no resource")
    _check_questions(manifest)
    return package


def _check_questions(manifest: StaticManifest) -> None:
    declared = {action: set(question.arrays) for action, question in manifest.app.questions.items()}
    if not manifest.app.actions or not set(declared) <= set(manifest.app.actions):
        raise _wrong("没有声明动作，或对未声明的动作声明了提问", "it declares no action, or questions of actions it does not have")
    lengths = {action: set(arrays) for action, arrays in manifest.arrays.items()}
    if any(arrays != declared.get(action, set()) for action, arrays in lengths.items()) or any(
            arrays and action not in lengths for action, arrays in declared.items()):
        raise _wrong("数组的声明与其长度不一致", "the arrays it declares and their lengths do not agree")


def _entries(data: bytes) -> dict[str, bytes]:
    if len(data) > MAX_BYTES:
        raise _wrong("文件过大", "it is too large")
    entries: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_FILES or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise _wrong("文件过多或经过压缩", "it has too many files, or compressed ones")
            for info in infos:
                entries[info.filename] = archive.read(info)
        if len(entries) == len(infos) and _archive(entries) == data:
            return entries
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, UnicodeError) as error:
        raise _wrong("不是应用包文件", "it is no package file") from error
    raise _wrong("不是规范写法的应用包文件", "it is not written the one way a package is")


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _wrong(f"{path} 不是 UTF-8 文本", f"{path} is not UTF-8 text") from error


def _source(path: str, content: bytes, name: str) -> str:
    found = _MODULE.fullmatch(path)
    if found is None or found[1] != name:
        raise _wrong(f"含有不允许的文件 {path[:80]}", f"it holds a file it may not hold: {path[:80]}")
    text = _text(content, path)
    try:
        ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _wrong(f"{path} 不是有效的 Python 源码", f"{path} is not valid Python") from error
    return text
