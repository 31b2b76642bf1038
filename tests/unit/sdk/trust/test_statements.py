"""Keys, grants, revocation lists and node cards."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shuyan.problems import ProblemError
from shuyan.trust import cards, grants, keys

KEY = keys.generate_signing_key()
PUBLIC = KEY.public_key()


def raw_key(number: int) -> str:
    return keys.b64url(bytes([number]) * 32)


def claims(**changes: Any) -> dict[str, Any]:
    return {
        "iss": "org_authority", "jti": "grant_1", "iat": 1000, "nbf": 1000, "exp": 2000, "scenario": "scenario_1",
        "scenario_title": "普惠金融", "purpose": "评估", "grantee": "org_1", "grantee_name": "开发公司",
        "resources": [{"resource_id": f"res_{n}", "node_id": f"node_{n}", "name": "t", "columns": ["a"]} for n in range(3)],
        "apps": [{"name": "statistics", "digest": "sha256:" + "0" * 64}],
        "nodes": [{"node_id": f"node_{n}", "name": f"节点{n}", "signing_key": raw_key(n), "agreement_key": raw_key(10 + n)}
                  for n in range(3)],
        "minimum_cohort": 10, "minimum_participants": 3, "output_forms": ["statistics"], "max_output_values": 1000,
        "release": "exact", "privacy": None, "own_figures": False, "sole_values": [],
    } | changes


def grant(**changes: Any) -> grants.Grant:
    return grants.Grant.model_validate_json(json.dumps(claims(**changes)))


def forge(payload: bytes, header: dict[str, Any]) -> str:
    """A JWS signed with the right key over anything."""
    signed = f"{keys.b64url(json.dumps(header).encode())}.{keys.b64url(payload)}"
    return f"{signed}.{keys.b64url(KEY.sign(signed.encode()))}"


HEADER = {"alg": "EdDSA", "typ": grants.GRANT_TYPE}


def test_a_grant_survives_its_signature() -> None:
    jws = grants.sign_grant(grant(), KEY)
    assert grants.verify_grant(jws, PUBLIC) == grant()
    header, payload, _ = jws.split(".")
    assert json.loads(keys.b64url_decode(header)) == HEADER
    assert keys.b64url_decode(payload) == rfc8785.dumps(claims())
    assert grants.grant_digest(jws).startswith("sha256:")


def test_only_exactly_what_was_signed_is_a_grant() -> None:
    jws = grants.sign_grant(grant(), KEY)
    header, payload, signature = jws.split(".")
    canonical = rfc8785.dumps(claims())
    partial = {k: v for k, v in claims().items() if k != "max_output_values"}
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + last[last.index(signature[-1]) ^ 1]  # the same bytes, other unused bits
    bad = {
        "another key": grants.sign_grant(grant(), keys.generate_signing_key()),
        "widened": f"{header}.{keys.b64url(rfc8785.dumps(claims(minimum_cohort=1)))}.{signature}",
        "a second spelling": f"{header}.{payload}.{twin}",
        "no algorithm": f"{keys.b64url(json.dumps({'alg': 'none', 'typ': grants.GRANT_TYPE}).encode())}.{payload}.",
        "HMAC with the public key": forge(canonical, {"alg": "HS256", "typ": grants.GRANT_TYPE}),
        "another type": grants.sign_revocations(revocations(), KEY),
        "no type": forge(canonical, {"alg": "EdDSA"}),
        "an extra header": forge(canonical, HEADER | {"kid": "x"}),
        "a critical header": forge(canonical, HEADER | {"crit": ["b64"], "b64": False}),
        "not canonical": forge(json.dumps(claims()).encode(), HEADER),
        "a claim missing": forge(rfc8785.dumps(partial), HEADER),
        "a claim too many": forge(rfc8785.dumps(claims(admin=True)), HEADER),
        "a number as text": forge(rfc8785.dumps(claims(minimum_cohort="10")), HEADER),
        "too large": forge(rfc8785.dumps(claims(purpose="x" * 600_000)), HEADER),
        "not JSON": forge(b"hello", HEADER), "deep": forge(b"[" * 5000 + b"]" * 5000, HEADER),
        "empty": "", "dots": "..", "words": "not a grant", "not ASCII": "授.权.书",
    }
    for name, text in bad.items():
        with pytest.raises(ProblemError) as caught:
            grants.verify_grant(text, PUBLIC)
        assert caught.value.code == "grant_invalid", name
        assert caught.value.args_ == {}


@pytest.mark.parametrize("changes", [
    {"exp": 1000}, {"nodes": claims()["nodes"][:2]}, {"nodes": [claims()["nodes"][0]] * 3}, {"minimum_participants": 2},
    {"minimum_participants": 4}, {"resources": []}, {"apps": []}, {"output_forms": ["rows"]}, {"minimum_cohort": 0},
    {"resources": [claims()["resources"][0] | {"node_id": "node_9"}]}, {"resources": [claims()["resources"][0]] * 2},
    {"apps": [{"name": "a", "digest": "md5:1"}]},
    {"nodes": [n | {"agreement_key": raw_key(9)} for n in claims()["nodes"]]},
    {"nodes": [n | {"signing_key": "AAAA"} for n in claims()["nodes"]]},
])
def test_an_incoherent_grant_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ProblemError, match="grant_invalid"):
        grants.verify_grant(forge(rfc8785.dumps(claims(**changes)), HEADER), PUBLIC)


def revocations(number: int = 4) -> grants.RevocationList:
    return grants.RevocationList(iss="a", number=number, iat=1, next_update=2,
                                 revoked=(grants.RevokedGrant(jti="grant_1", at=1, reason="停止"),))


def test_a_revocation_list_survives_its_signature() -> None:
    jws = grants.sign_revocations(revocations(), KEY)
    assert grants.verify_revocations(jws, PUBLIC) == revocations()
    for bad in (grants.sign_grant(grant(), KEY), jws[:-4], grants.sign_revocations(revocations(), keys.generate_signing_key())):
        with pytest.raises(ProblemError, match="revocations_invalid"):
            grants.verify_revocations(bad, PUBLIC)


def card(**changes: Any) -> cards.NodeCard:
    return cards.sign_card(**{"node_id": "node_1", "name": "节点", "organisation": "税务局", "signing_key": KEY,
                              "agreement_key": raw_key(7)} | changes)


def test_a_card_vouches_for_both_keys() -> None:
    made = card()
    assert cards.verify_card(made.model_dump_json()) == made
    assert made.fingerprint != card(agreement_key=raw_key(8)).fingerprint
    for name, value in (("agreement_key", raw_key(8)), ("organisation", "财政局"), ("node_id", "node_2"),
                        ("signature", "AAAA"), ("signing_key", raw_key(3)), ("signature", "!")):
        with pytest.raises(ProblemError, match="card_invalid"):
            cards.verify_card(json.dumps(made.model_dump() | {name: value}))
    for text in ("", "[]", "{}", "x" * 20_000, made.model_dump_json()[:-1] + ',"extra":1}'):
        with pytest.raises(ProblemError, match="card_invalid"):
            cards.verify_card(text)


def test_private_keys_are_their_owners_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.key"
    keys.save_private_key(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.encode_public(keys.load_signing_key(path).public_key()) == keys.encode_public(PUBLIC)
    with pytest.raises(ProblemError, match="key_exists"):
        keys.save_private_key(path, keys.generate_signing_key())
    assert [p.name for p in path.parent.iterdir()] == ["a.key"]
    agreement = keys.generate_agreement_key()
    keys.save_private_key(tmp_path / "b.key", agreement)
    assert keys.encode_public(keys.load_agreement_key(tmp_path / "b.key").public_key()) == keys.encode_public(
        agreement.public_key())
    keys.save_public_key(tmp_path / "a.pub", PUBLIC)
    assert keys.fingerprint(keys.load_public_key(tmp_path / "a.pub")) == keys.fingerprint(keys.encode_public(PUBLIC))
    (tmp_path / "rubbish").write_text("rubbish")
    for load, name in ((keys.load_signing_key, "b.key"), (keys.load_agreement_key, "sub/a.key"),
                       (keys.load_public_key, "b.key"), (keys.load_signing_key, "rubbish"), (keys.load_signing_key, "none"),
                       (keys.load_public_key, "rubbish")):
        with pytest.raises(ProblemError, match="key_invalid"):
            load(tmp_path / name)


def test_of_many_who_make_a_key_at_once_one_wins(tmp_path: Path) -> None:
    outcomes: list[str] = []

    def make() -> None:
        try:
            keys.save_private_key(tmp_path / "k", keys.generate_signing_key())
            outcomes.append("made")
        except ProblemError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["key_exists"] * 7 + ["made"]


@given(st.binary())
def test_base64url_has_one_spelling(data: bytes) -> None:
    text = keys.b64url(data)
    assert keys.b64url_decode(text) == data
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    for other in (text + "=", text + "\n", " " + text, text + "+"):
        with pytest.raises(ValueError, match="base64"):
            keys.b64url_decode(other)
