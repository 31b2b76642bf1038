"""The static checks of an app's source: what the code may say. The sandbox does not rely on them; reviewers do.

Every finding names file and line, a rule and a sentence in both languages. The rules ask for code that a person can read
and be sure of: declared imports, no way to the machine, no names built at run time, nothing that happens on import,
nothing that differs between two runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shuyan.appkit.allowed import may_import


@dataclass(frozen=True, order=True)
class Finding:
    """One violation.

    Attributes:
        path: ``NAME/module.py``; "" for the project as a whole.
        line: from 1; 0 for a file as a whole.
        rule: a short name, ``import``.
    """

    path: str
    line: int
    rule: str
    zh: str
    en: str

    def text(self, language: str = "zh") -> str:
        """``NAME/module.py:3: …``"""
        place = f"{self.path}:{self.line}: " if self.line else f"{self.path}: " if self.path else ""
        return f"{place}{self.zh if language == 'zh' else self.en} [{self.rule}]"


_FORBIDDEN_NAMES: Final = frozenset({
    "eval", "exec", "compile", "open", "__import__", "input", "breakpoint", "globals", "locals", "vars", "dir", "getattr", "setattr",
    "delattr", "hasattr", "memoryview", "help", "exit", "quit", "print", "__builtins__", "__loader__", "__spec__", "__file__",
    "__path__", "__cached__", "copyright", "credits", "license"})
_UNSTEADY_NAMES: Final = frozenset({"hash", "id"})
_FORBIDDEN_ATTRIBUTES: Final = frozenset({
    # frames, code and generators lead to everything
    "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code", "f_globals", "f_locals", "f_builtins", "f_back", "f_code",
    "tb_frame", "tb_next", "co_code", "co_consts", "func_globals", "func_code", "mro",
    # files and pickles of NumPy, and what it passes on of Python
    "load", "save", "savez", "savez_compressed", "savetxt", "loadtxt", "genfromtxt", "fromfile", "tofile", "fromregex", "memmap",
    "open_memmap", "DataSource", "ctypeslib", "ctypes", "f2py", "distutils", "testing", "sys", "os", "subprocess", "builtins", "importlib",
    "dump", "dumps_pickle", "lib", "compat", "warnings_sys"})
_NUMPY_ONLY: Final = frozenset({"load", "save", "lib", "testing", "open_memmap", "memmap", "compat", "distutils"})
_UNSTEADY_ATTRIBUTES: Final = frozenset({"now", "today", "utcnow", "fromtimestamp"})
_ALLOWED_DUNDERS: Final = frozenset({"__init__", "__name__", "__post_init__", "__doc__"})
_DUNDER: Final = re.compile(r"__[A-Za-z]\w*__")
_SQL_FUNCTION: Final = re.compile(
    r"\b(?:read_\w+|scan_\w+|\w+_scan|glob|sniff_csv|query_table|query|duckdb_\w+|pragma_\w+|getenv|getvariable|current_setting|random|"
    r"uuid|uuidv4|uuidv7|gen_random_uuid|now|today|get_current_\w+|nextval)\s*\(|\bcurrent_(?:timestamp|date|time)\b", re.IGNORECASE)
_SQL_STATEMENT: Final = re.compile(
    r"(?:^|;)\s*(?:copy|attach|detach|use|install|force\s+install|load|update\s+extensions|export|import|create|drop|alter|insert|update|"
    r"delete|set|reset|pragma|call|checkpoint|vacuum|prepare|execute)\b(?=\s*['\"\w])", re.IGNORECASE)
_SQL_LIKE: Final = re.compile(r"\b(?:select|from|copy|attach|detach|install|load|set|pragma|call|create|insert|export|import)\b", re.IGNORECASE)
_MODULE_CALLS: Final = frozenset({
    "ClientApp", "federated_app", "VectorSpec", "Reads", "Limits", "Field", "ConfigDict", "Question", "Length", "frozenset", "tuple", "float",
    "int", "str", "dict", "list", "set", "range", "TypeVar", "NewType", "namedtuple", "compile", "Decimal", "Fraction"})
_MODULE_DECORATORS: Final = frozenset({
    "dataclass", "property", "staticmethod", "classmethod", "field_validator", "model_validator", "cached_property", "cache", "lru_cache",
    "query", "train", "evaluate", "override", "overload", "abstractmethod", "wraps", "total_ordering"})


def check_sources(name: str, sources: Mapping[str, str]) -> list[Finding]:
    """All findings in an app's modules, in order.

    Args:
        name: the app's; its modules may import each other.
        sources: text by path: ``NAME/__init__.py``.
    """
    found: list[Finding] = []
    for path in sorted(sources):
        try:
            tree = ast.parse(sources[path], path)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", 0) or 0
            found.append(Finding(path, line, "syntax", "不是有效的 Python 源码", "this is not valid Python"))
            continue
        found += _Reader(name, path).findings(tree)
    return sorted(set(found))


def imports_of(name: str, sources: Mapping[str, str]) -> list[str]:
    """The modules an app imports besides its own, sorted."""
    found = set()
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text, path)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module)
    return sorted(module for module in found if module.partition(".")[0] != name)


class _Reader:
    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._path = path
        self._documentation: set[int] = set()

    def _at(self, node: ast.AST, rule: str, zh: str, en: str) -> Finding:
        return Finding(self._path, getattr(node, "lineno", 0), rule, zh, en)

    def findings(self, tree: ast.Module) -> Iterator[Finding]:
        yield from self._effects(tree.body)
        self._documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        yield from self._import(node, alias.name)
                case ast.ImportFrom(module=module, names=names, level=level):
                    yield from self._import_from(node, module or "", [alias.name for alias in names], level)
                case ast.Name(id=name):
                    yield from self._name_used(node, name)
                case ast.Attribute(attr=name, value=value):
                    yield from self._attribute(node, name, value)
                case ast.Constant(value=str() as text):
                    yield from self._string(node, text)
                case ast.ExceptHandler(type=None):
                    yield self._at(node, "except", "except 须写明异常类型", "say which exceptions are meant")
                case ast.ExceptHandler(type=ast.Name(id="BaseException")):
                    yield self._at(node, "except", "不得捕获 BaseException", "BaseException may not be caught")
                case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
                    yield self._at(node, "async", "不得使用 async", "async is not allowed")
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if _DUNDER.fullmatch(name) and name not in _ALLOWED_DUNDERS:
                    yield self._at(node, "dunder", f"不得定义 {name}", f"{name} may not be defined")
                case ast.ClassDef(keywords=keywords) if any(keyword.arg == "metaclass" for keyword in keywords):
                    yield self._at(node, "metaclass", "不得使用元类", "metaclasses are not allowed")
                case ast.Call(func=ast.Name(id="type"), args=[_, _, *_]):
                    yield self._at(node, "dynamic", "不得在运行时构造类", "classes may not be made at run time")
                case _:
                    pass

    def _import(self, node: ast.AST, module: str) -> Iterator[Finding]:
        if module.partition(".")[0] != self._name and not may_import(module):
            yield self._at(node, "import", f"不得导入 {module}", f"{module} may not be imported")

    def _import_from(self, node: ast.AST, module: str, names: list[str], level: int) -> Iterator[Finding]:
        if "*" in names:
            yield self._at(node, "import", "须逐一写明导入的名称", "name what is imported, one by one")
        if level:
            if level > self._path.count("/"):
                yield self._at(node, "import", "不得导入应用以外的模块", "nothing outside the app may be imported relatively")
            return
        yield from self._import(node, module)
        for name in names:
            full = f"{module}.{name}"
            if name.startswith("_") and module.partition(".")[0] != self._name and module != "__future__":
                yield self._at(node, "import", f"不得导入内部名称 {full}", f"{full} is not public")
            elif name in _FORBIDDEN_ATTRIBUTES and module.partition(".")[0] == "numpy":
                yield self._at(node, "attribute", f"不得使用 {full}", f"{full} may not be used")
            elif module == "shuyan.federation" and not may_import(full):
                yield self._at(node, "import", f"不得导入 {full}", f"{full} may not be imported")

    def _name_used(self, node: ast.AST, name: str) -> Iterator[Finding]:
        if name in _FORBIDDEN_NAMES:
            yield self._at(node, "builtin", f"不得使用 {name}", f"{name} may not be used")
        elif name in _UNSTEADY_NAMES:
            yield self._at(node, "determinism", f"{name} 每次运行取值不同，不得使用", f"{name} differs between runs and may not be used")
        elif _DUNDER.fullmatch(name) and name not in _ALLOWED_DUNDERS:
            yield self._at(node, "dunder", f"不得使用 {name}", f"{name} may not be used")

    def _attribute(self, node: ast.Attribute, name: str, value: ast.expr) -> Iterator[Finding]:
        if _DUNDER.fullmatch(name) and not (name == "__init__" and isinstance(value, ast.Call)) and name not in {"__name__"}:
            yield self._at(node, "dunder", f"不得访问 {name}", f"{name} may not be touched")
        if name in _FORBIDDEN_ATTRIBUTES and (name not in _NUMPY_ONLY or _root(value) in {"np", "numpy"}):
            yield self._at(node, "attribute", f"不得使用 .{name}", f".{name} may not be used")
        if name in _UNSTEADY_ATTRIBUTES and _root(value) in {"datetime", "date", "dt"}:
            yield self._at(node, "determinism", f".{name} 每次运行取值不同，不得使用", f".{name} differs between runs and may not be used")
        if _root(value) in {"np", "numpy"} and isinstance(value, ast.Attribute) and value.attr == "random" and name not in {
                "default_rng", "Generator", "PCG64", "SeedSequence"}:
            yield self._at(node, "determinism", "随机数须用 numpy.random.default_rng(种子)",
                           "random numbers come from numpy.random.default_rng(seed)")

    def _string(self, node: ast.AST, text: str) -> Iterator[Finding]:
        if _DUNDER.search(text) and re.search(r"[.\[{]", text) and "\n" not in text:
            yield self._at(node, "dunder", "字符串中不得含有双下划线名称", "a string may not hold names with double underscores")
        if id(node) in self._documentation or not _SQL_LIKE.search(text):
            return
        found = _SQL_STATEMENT.search(text) if " " in text.strip() else None
        found = found or _SQL_FUNCTION.search(text)
        if found:
            word = found[0].strip("; (\n").lower()
            yield self._at(node, "sql", f"SQL 中不得使用 {word}", f"SQL may not use {word}")

    # --- nothing happens on import ---

    def _effects(self, body: list[ast.stmt]) -> Iterator[Finding]:
        for place, statement in enumerate(body):
            match statement:
                case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.Pass():
                    if isinstance(statement, ast.FunctionDef):
                        yield from self._decorated(statement)
                case ast.ClassDef():
                    yield from self._decorated(statement)
                    yield from self._effects(statement.body)
                case ast.Expr(value=ast.Constant()) if place == 0 or isinstance(statement.value, ast.Constant):
                    continue
                case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                    yield from self._constant(value)
                case ast.AnnAssign(value=None):
                    continue
                case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=inner, orelse=[]):
                    yield from self._effects(inner)
                case _:
                    yield self._at(statement, "effect", "模块级别只能有导入、定义和常量",
                                   "on import only definitions, constants and imports may happen")

    def _decorated(self, node: ast.FunctionDef | ast.ClassDef) -> Iterator[Finding]:
        for decorator in node.decorator_list:
            last = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = last.attr if isinstance(last, ast.Attribute) else last.id if isinstance(last, ast.Name) else ""
            if name not in _MODULE_DECORATORS:
                yield self._at(decorator, "effect", "不得使用此装饰器", "this decorator is not allowed")

    def _constant(self, value: ast.expr) -> Iterator[Finding]:
        for node in ast.walk(value):
            if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr, ast.Await)):
                if not isinstance(node, (ast.NamedExpr, ast.Await)):
                    continue
                yield self._at(node, "effect", "模块级别只能有导入、定义和常量",
                               "on import only definitions, constants and imports may happen")
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
                owner = _root(node.func.value) if isinstance(node.func, ast.Attribute) else ""
                if name not in _MODULE_CALLS and owner not in {"np", "numpy", "math", "re"}:
                    yield self._at(node, "effect", f"模块级别不得调用 {name or '函数'}", f"{name or 'this'} may not be called on import")


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
