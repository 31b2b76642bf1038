from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan.federation import masking, ring
from shuyan.federation.masking import AgreementKey, MaskContext, Masked
from shuyan.federation.ring import Words
from shuyan.federation.vectors import COHORT, Segment

KEYS = {f"n{place}": AgreementKey.generate() for place in range(6)}
PUBLIC = {node: key.public for node, key in KEYS.items()}


def context(parties: int = 3, **changes: object) -> MaskContext:
    base = MaskContext("run-1", 1, 1, tuple(f"n{place}" for place in range(parties)), "sha256:question")
    return replace(base, **changes)  # type: ignore[arg-type]


def random_words(segments: tuple[Segment, ...], seed: int) -> dict[str, Words]:
    random = np.random.default_rng(seed)
    return {s.name: random.integers(0, 2**64, (s.limbs, s.length), dtype=np.uint64) for s in segments}


def mask(words: dict[str, Words], segments: tuple[Segment, ...], where: MaskContext, node: str) -> Masked:
    copied = {name: array.copy() for name, array in words.items()}
    return masking.mask_vectors(copied, segments, where, node, KEYS[node], PUBLIC)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(3, 6),
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 17, 16_383, 16_384, 16_385, 40_000]), st.integers(1, 4)), max_size=3),
)
def test_masks_cancel_for_any_parties_lengths_and_limbs(parties: int, shapes: list[tuple[int, int]]) -> None:
    segments = (Segment(COHORT, 1, 1), *(Segment(f"v{at}", length, limbs) for at, (length, limbs) in enumerate(shapes)))
    where = context(parties)
    plain = {node: random_words(segments, at) for at, node in enumerate(where.participants)}
    expected = {name: np.zeros_like(array) for name, array in plain["n0"].items()}
    for words in plain.values():
        for name, array in words.items():
            ring.add(expected[name], array)

    answers = [mask(plain[node], segments, where, node) for node in where.participants]
    total = masking.sum_masked((answer.words for answer in answers), segments)
    opened = masking.unmask_sum(total, segments, (answer.seed for answer in answers))

    assert opened.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(opened[name], expected[name])


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 6), st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=3), st.sampled_from(["n0", "n2"]))
def test_a_mask_is_what_the_protocol_says(parties: int, shapes: list[tuple[int, int]], node: str) -> None:
    """Worked out a second time: RFC 5869 and AES-CTR by the library, addition by Python's whole numbers."""
    segments = (Segment(COHORT, 1, 1), *(Segment(f"v{at}", length, limbs) for at, (length, limbs) in enumerate(shapes)))
    where = context(parties)
    plain = random_words(segments, 7)
    masked = mask(plain, segments, where, node)
    keys = [(masked.seed, 1)]
    for peer in where.participants:
        if peer != node:
            derived = HKDF(algorithm=SHA256(), length=32, salt=b"shuyan-pairwise-mask-v1", info=where.info()).derive(
                KEYS[node].shared(PUBLIC[peer]))
            keys.append((derived, 1 if node < peer else -1))
    size = sum(segment.limbs * segment.length for segment in segments)
    streams = [(np.frombuffer(Cipher(AES256(key), CTR(bytes(16))).encryptor().update(bytes(8 * size)), dtype="<u8"), sign)
               for key, sign in keys]
    at = 0
    for segment in segments:
        end = at + segment.limbs * segment.length
        expected = [value + sum(sign * added for added, sign in zip(column, (sign for _, sign in streams), strict=True))
                    for value, *column in zip(ring.integers(plain[segment.name]), *(
                        ring.integers(stream[at:end].reshape(segment.limbs, -1)) for stream, _ in streams), strict=True)]
        modulus = 1 << (64 * segment.limbs)
        assert [value % modulus for value in ring.integers(masked.words[segment.name])] == [value % modulus for value in expected]
        at = end


SEGMENTS = (Segment(COHORT, 1, 1), Segment("v", 1000, 2))
ZEROS = {segment.name: np.zeros((segment.limbs, segment.length), dtype=np.uint64) for segment in SEGMENTS}


@pytest.mark.parametrize("change", [{"run_id": "run-2"}, {"round": 2}, {"attempt": 2}, {"question": "sha256:other"}])
def test_pairwise_masks_are_bound_to_the_whole_context(change: dict[str, object]) -> None:
    """Even with the self-mask taken off, a vector masked in another context looks like another random one."""
    def without_self_mask(where: MaskContext) -> Words:
        masked = mask(ZEROS, SEGMENTS, where, "n0")
        return masking.unmask_sum(masked.words, SEGMENTS, [masked.seed])["v"]

    one, other = without_self_mask(context()), without_self_mask(context(**change))

    assert (one == without_self_mask(context())).all()
    assert np.mean(one == other) < 0.01
    assert np.mean(without_self_mask(context(4)) == one) < 0.01


def test_a_masked_vector_never_repeats_and_looks_uniform() -> None:
    one, again = (mask(ZEROS, SEGMENTS, context(), "n0").words["v"] for _ in range(2))

    assert np.mean(one == again) < 0.01
    for words in (one, again):
        bits = np.unpackbits(words.view(np.uint8))
        assert abs(bits.mean() - 0.5) < 0.01


def test_a_missing_participant_leaves_noise() -> None:
    answers = [mask(ZEROS, SEGMENTS, context(), node) for node in ("n0", "n1")]

    total = masking.sum_masked((answer.words for answer in answers), SEGMENTS)
    opened = masking.unmask_sum(total, SEGMENTS, (answer.seed for answer in answers))

    assert np.mean(opened["v"] == 0) < 0.01


@pytest.mark.parametrize(
    ("participants", "node"),
    [(("n0", "n1"), "n0"), (("n1", "n0", "n2"), "n0"), (("n0", "n0", "n1"), "n0"), (("n1", "n2", "n3"), "n0")],
)
def test_bad_participant_lists_are_refused(participants: tuple[str, ...], node: str) -> None:
    with pytest.raises(ValueError, match="participants"):
        mask(ZEROS, SEGMENTS, context(participants=participants), node)


def test_a_peer_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="no key"):
        masking.mask_vectors(dict(ZEROS), SEGMENTS, context(), "n0", KEYS["n0"], {"n1": PUBLIC["n1"]})


def test_a_public_key_of_small_order_is_refused() -> None:
    with pytest.raises(ValueError, match=r".*"):
        KEYS["n0"].shared(bytes(32))


def test_shapes_other_than_the_layout_are_refused() -> None:
    wrong = {**ZEROS, "v": np.zeros((2, 999), dtype=np.uint64)}
    with pytest.raises(ValueError, match="layout"):
        masking.mask_vectors(wrong, SEGMENTS, context(), "n0", KEYS["n0"], PUBLIC)
    with pytest.raises(ValueError, match="layout"):
        masking.sum_masked([wrong], SEGMENTS)


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        masking.unmask_sum({name: array.copy() for name, array in ZEROS.items()}, SEGMENTS, [b"short"])


def test_the_question_digest_names_everything_asked() -> None:
    base = {"grant_digest": "g", "app_name": "a", "app_digest": "d", "purpose": "p", "params_json": "{}",
            "message_type": "query.x", "content_digest": "c"}
    digests = {masking.question_digest(**base)} | {masking.question_digest(**{**base, name: "!"}) for name in base}

    assert len(digests) == len(base) + 1
