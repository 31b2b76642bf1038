"""Proofs at every size against a naive reading of RFC 6962, and the published hashes of the CT test suite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.problems import ProblemError
from shuyan.trust import merkle

LEAVES = [merkle.leaf_hash(b"%d" % n) for n in range(400)]

# The inputs and roots of the Certificate Transparency test suite (merkle_tree_test), sizes 1 to 8.
KNOWN_INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_consistency(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_consistency(m - k, leaves[k:], False), naive_root(leaves[:k])]


@pytest.fixture(scope="module")
def read() -> merkle.Reader:
    table: dict[merkle.Position, bytes] = {}

    def found(positions: Sequence[merkle.Position]) -> list[bytes]:
        return [table[position] for position in positions]

    for index, leaf in enumerate(LEAVES):
        table.update(merkle.completed_hashes(index, leaf, found))
    return found


def test_the_published_roots() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in KNOWN_INPUTS]
    for size, root in enumerate(KNOWN_ROOTS, 1):
        assert merkle.root_of(leaves[:size]).hex() == root
    assert merkle.root_of([]) == merkle.EMPTY_ROOT


def test_roots_of_every_size(read: merkle.Reader) -> None:
    for size in range(0, len(LEAVES) + 1, 7):
        assert merkle.root_at(size, read) == merkle.root_of(LEAVES[:size]) == naive_root(LEAVES[:size])


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_inclusion_is_the_rfcs_and_verifies(read: merkle.Reader, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, read)
    root = merkle.root_at(size, read)
    assert proof == naive_path(index, LEAVES[:size])
    merkle.verify_inclusion(index, size, LEAVES[index], proof, root)
    for other in {index - 1, index + 1, size} & set(range(size)):
        with pytest.raises(ProblemError, match="inclusion_invalid"):
            merkle.verify_inclusion(other, size, LEAVES[index], proof, root)
    for damaged in ([*proof, root], proof[:-1] if proof else [root], [hashlib.sha256(p).digest() for p in proof] or [root]):
        with pytest.raises(ProblemError, match="inclusion_invalid"):
            merkle.verify_inclusion(index, size, LEAVES[index], damaged, root)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_consistency_is_the_rfcs_and_verifies(read: merkle.Reader, data: st.DataObject) -> None:
    second = data.draw(st.integers(1, len(LEAVES)))
    first = data.draw(st.integers(1, second))
    proof = merkle.consistency_proof(first, second, read)
    old, new = merkle.root_at(first, read), merkle.root_at(second, read)
    assert proof == naive_consistency(first, LEAVES[:second])
    merkle.verify_consistency(first, second, proof, old, new)
    bad = hashlib.sha256(old).digest()
    for a, b, damaged in ((bad, new, proof), (old, bad, proof), (old, new, [*proof, old])):
        with pytest.raises(ProblemError, match="consistency_invalid"):
            merkle.verify_consistency(first, second, damaged, a, b)


def test_a_rewritten_leaf_breaks_consistency_at_every_size(read: merkle.Reader) -> None:
    rewritten = [*LEAVES[:20], merkle.leaf_hash(b"other"), *LEAVES[21:60]]
    for first in range(21, 60):
        forged = naive_consistency(first, rewritten)
        with pytest.raises(ProblemError, match="consistency_invalid"):
            merkle.verify_consistency(first, 60, forged, merkle.root_at(first, read), naive_root(rewritten))


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_inclusion_out_of_range(read: merkle.Reader, index: int, size: int) -> None:
    with pytest.raises(ProblemError, match="proof_range"):
        merkle.inclusion_proof(index, size, read)
    with pytest.raises(ProblemError, match="inclusion_invalid"):
        merkle.verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


@pytest.mark.parametrize(("first", "second"), [(0, 5), (6, 5), (-1, 5)])
def test_consistency_out_of_range(read: merkle.Reader, first: int, second: int) -> None:
    with pytest.raises(ProblemError, match="proof_range"):
        merkle.consistency_proof(first, second, read)
    with pytest.raises(ProblemError, match="consistency_invalid"):
        merkle.verify_consistency(first, second, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)


def test_proofs_read_few_nodes() -> None:
    asked: list[int] = []

    def read(positions: Sequence[merkle.Position]) -> list[bytes]:
        asked.append(len(positions))
        return [bytes(32)] * len(positions)

    merkle.inclusion_proof(123_456, 1_000_000_007, read)
    merkle.consistency_proof(123_456, 1_000_000_007, read)
    merkle.completed_hashes((1 << 30) - 1, bytes(32), read)
    assert max(asked) <= 2 * 30
    assert len(asked) == 3
