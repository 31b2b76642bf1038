"""Packages: the same bytes for the same content, nothing else is read, and signatures are about one package."""

from __future__ import annotations

import contextlib
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shuyan.appkit import diff_packages, pack, read_package, sign_package, verify_signature
from shuyan.appkit.check import build, check_project
from shuyan.appkit.package import name_is_free
from shuyan.problems import ProblemError
from shuyan.trust.keys import generate_signing_key


def code_of(call) -> str:
    with pytest.raises(ProblemError) as raised:
        call()
    assert raised.value.text("zh")
    assert "?" not in raised.value.text("en")
    return raised.value.code


def test_the_same_content_is_the_same_file(package, project):
    again = pack(package.manifest, dict(reversed(list(package.sources.items()))), package.readme)
    assert again.data == package.data
    assert read_package(package.data).digest == package.digest == again.digest
    elsewhere = project()
    assert build(elsewhere, check_project(elsewhere)).data == package.data
    assert pack(package.manifest, package.sources, package.readme + " ").digest != package.digest


def test_a_manifest_says_everything(package):
    manifest = package.manifest
    assert set(manifest.app.actions["query.sums"]) == {"count", "sum"}
    assert package.params_model.model_validate({"resource": "r", "column": "c", "by": "d", "domains": {"d": ["x"]}})
    params = package.params_model.model_validate({"resource": "r", "column": "c", "by": "d"})
    assert package.needs.relations(params) == {"r": [("c", "number"), ("d", "dimension")]}
    assert manifest.modules == ("__future__", "numpy", "pydantic", "shuyan.federation.kit", "shuyan.federation.release", "typing")


def entries_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(entries: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100444 << 16
            archive.writestr(info, entries[name], compression)
        archive.comment = comment
    return stream.getvalue()


def test_whatever_is_not_written_so_is_no_package(package):
    entries = entries_of(package.data)
    assert written(entries) == package.data
    source = "src/visit_costs/__init__.py"
    for data in (
            b"", b"PK", package.data[:-1], package.data + b"\0", b"\0" + package.data, written(entries, comment=b"hello"),
            written(entries, compression=zipfile.ZIP_DEFLATED), written({**entries, "src/visit_costs/extra.py": b"x = 1\n"}),
            written({**entries, "../evil.py": b""}), written({**entries, "src/visit_costs/lib.so": b"\x7fELF"}),
            written({**entries, source: entries[source] + b"\n"}), written({name: data for name, data in entries.items() if name != "manifest.json"}),
            written({**entries, "manifest.json": entries["manifest.json"].replace(b'"format":1', b'"format":2')}),
            written({**entries, "manifest.json": b" " + entries["manifest.json"]}), b"x" * 3_000_000):
        assert code_of(lambda data=data: read_package(data)) == "package_invalid"


@given(at=st.integers(min_value=0, max_value=10_000), value=st.integers(min_value=0, max_value=255))
def test_no_byte_can_be_changed_unseen(package, at, value):
    data = bytearray(package.data)
    place = at * len(data) // 10_001
    if data[place] == value:
        return
    data[place] = value
    with contextlib.suppress(ProblemError):
        assert read_package(bytes(data)).digest != package.digest


def test_a_signature_is_by_one_key_about_one_package(package):
    key, other = generate_signing_key(), generate_signing_key()
    signed = sign_package(package, key, issuer="运营机构", at=1_700_000_000)
    assert verify_signature(package, signed + "\n", key.public_key()).iss == "运营机构"
    changed = pack(package.manifest, package.sources, "another")
    for given_package, signature, public in (
            (package, signed, other.public_key()), (changed, signed, key.public_key()), (package, signed[:-4] + "AAAA", key.public_key()),
            (package, "", key.public_key()), (package, "a.b.c", key.public_key())):
        assert code_of(lambda p=given_package, s=signature, k=public: verify_signature(p, s, k)) == "app_signature_invalid"


def test_the_difference_between_versions(package):
    first = diff_packages(None, package)
    assert {change.kind for change in first.files} == {"added"}
    assert diff_packages(package, package).empty
    manifest = package.manifest.app
    wider = manifest.actions["query.sums"]["sum"].model_copy(update={"bound": 2.0**62})
    action = {**manifest.actions["query.sums"], "sum": wider}
    later = package.manifest.model_copy(update={"app": manifest.model_copy(update={"version": "1.1.0", "actions": {"query.sums": action}})})
    sources = {**package.sources, "visit_costs/_params.py": package.sources["visit_costs/_params.py"] + "# more\n"}
    found = diff_packages(package, pack(later, sources, package.readme))
    assert {change.where: (change.old, change.new) for change in found.declarations} == {
        "app.version": ("1.0.0", "1.1.0"), "app.actions.query.sums.sum.bound": (2.0**60, 2.0**62)}
    assert [(change.path, change.kind) for change in found.files] == [("visit_costs/_params.py", "changed")]
    assert "+# more" in found.text()


def test_names_that_hide_nothing():
    assert name_is_free("visit_costs")
    for name in ("os", "json", "shuyan", "numpy", "Visit", "a", "1x", "x-y", "x" * 50, "statistics", "../x", ""):
        assert not name_is_free(name)
