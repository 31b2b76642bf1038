"""Where the demo keeps what: one folder for each party, as if each were a machine of its own.

::

    .demo/
      accounts.json            demo accounts of every role, made at the first start, mode 0600
      market/                  the operator's: database, keys
      authority/               the data authority's: its signing key is here and nowhere else
      departments/<district>/  a department's: data/*.csv are its raw files, node/ is its agent's own directory
      clients/                 secrets of the API clients, one file each
      logs/                    one file a process
"""

from __future__ import annotations

import json
import os
import random
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.data import DISTRICTS, District, credit_code


@dataclass(frozen=True)
class Ports:
    """Everything the market listens on, on this machine only."""

    web: int = 8700
    link: int = 8701
    enrol: int = 8702

    @property
    def all(self) -> tuple[int, ...]:
        return self.web, self.link, self.enrol


@dataclass(frozen=True)
class Party:
    """One organisation of the demo, with one person and, where ``scope`` is given, one program."""

    slug: str
    kind: str
    name_zh: str
    name_en: str
    scope: str = ""
    of: str = ""
    """Slug of the party whose second person and program this is."""

    @property
    def organisation_id(self) -> str:
        return f"org_{self.of or self.slug}"

    @property
    def email(self) -> str:
        return f"{self.slug}@yancheng.example"

    @property
    def client_id(self) -> str:
        return f"client_{self.slug}"


AUTHORITY = Party("authority", "data_authority", "堰城市数据局", "Yancheng Data Bureau", "read grants egress agreements review")
REVIEWER = Party("authority-review", "data_authority", "堰城市数据局审核处", "Yancheng Data Bureau, review",
                 "read agreements", of="authority")
OPERATOR = Party("operator", "operator", "堰城公共数据运营有限公司", "Yancheng Public Data Operations", "read operate agreements review")
CHECKER = Party("operator-review", "operator", "堰城公共数据运营有限公司审核部", "Yancheng Public Data Operations, review", of="operator")
DEVELOPER = Party("developer", "developer", "明鉴数据科技有限公司", "Mingjian Data Technology", "read jobs products agreements")
INSURER = Party("insurer", "consumer", "民泽健康保险股份有限公司", "Minze Health Insurance", "read orders deliver")
BANK = Party("bank", "consumer", "汇川银行股份有限公司", "Huichuan Bank", "read orders deliver")
HEALTH = Party("health", "industry_department", "堰城市卫生健康委员会", "Yancheng Health Commission", "read review")
PARTIES = (
    AUTHORITY, REVIEWER, OPERATOR, CHECKER, DEVELOPER, INSURER, BANK,
    Party("security", "security_supervisor", "堰城市信息中心", "Yancheng Information Centre"),
    Party("finance", "finance_department", "堰城市财政局", "Yancheng Finance Bureau"),
    HEALTH,
    *(Party(d.slug, "source_department", f"{d.name_zh}数据局", f"{d.name_en} Data Bureau", "read review egress") for d in DISTRICTS),
)


@dataclass(frozen=True)
class Layout:
    """The demo's folder and its parts."""

    root: Path
    ports: Ports = field(default_factory=Ports)

    @property
    def market(self) -> Path:
        return self.root / "market"

    @property
    def authority(self) -> Path:
        return self.root / "authority"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def accounts_file(self) -> Path:
        return self.root / "accounts.json"

    @property
    def parties(self) -> tuple[Party, ...]:
        """Every organisation that takes part."""
        return PARTIES

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.web}"

    def department(self, district: District) -> Path:
        return self.root / "departments" / district.slug

    def node(self, district: District) -> Path:
        return self.department(district) / "node"

    def secret_file(self, party: Party) -> Path:
        return self.root / "clients" / f"{party.slug}.secret"

    def secret(self, party: Party) -> str:
        return self.secret_file(party).read_text(encoding="utf-8").strip()

    def market_environment(self) -> dict[str, str]:
        """Settings of the operator's processes and commands."""
        return {
            "SHUYAN_DATA_DIR": str(self.market), "SHUYAN_WEB_PORT": str(self.ports.web), "SHUYAN_PUBLIC_URL": self.url,
            "SHUYAN_CITY_CODE": "YC", "SHUYAN_LINK_PORT": str(self.ports.link), "SHUYAN_ENROL_PORT": str(self.ports.enrol),
            # nobody waits a week for a demo
            "SHUYAN_AGREEMENT_NOTICE_DAYS": "0", "SHUYAN_REGISTRATION_NOTICE_DAYS": "0",
        }

    def authority_environment(self) -> dict[str, str]:
        """Settings of the data authority's command."""
        return {
            "SHUYAN_AUTHORITY_KEY": str(self.authority / "authority.key"), "SHUYAN_AUTHORITY_MARKET": self.url,
            "SHUYAN_AUTHORITY_CLIENT_ID": AUTHORITY.client_id,
            "SHUYAN_AUTHORITY_CLIENT_SECRET_FILE": str(self.secret_file(AUTHORITY)),
            "SHUYAN_AUTHORITY_DIR": str(self.authority),
        }

    def accounts(self) -> dict[str, str]:
        """Passwords by e-mail address; made once, at random."""
        if not self.accounts_file.exists():
            passwords = {party.email: secrets.token_urlsafe(9) for party in self.parties}
            write_private(self.accounts_file, json.dumps(passwords, indent=2))
        loaded: dict[str, str] = json.loads(self.accounts_file.read_text(encoding="utf-8"))
        return loaded

    def seed(self) -> dict[str, Any]:
        """The seed file's content: organisations with their people and programs."""
        accounts = self.accounts()
        chance = random.Random("shuyan organisations")  # noqa: S311 - made-up companies
        entries: dict[str, dict[str, Any]] = {}
        for party in self.parties:
            entry = entries.setdefault(party.organisation_id, {
                "id": party.organisation_id, "kind": party.kind, "name_zh": party.name_zh, "name_en": party.name_en, "members": [],
                "clients": []})
            entry["members"].append({"email": party.email, "display_name": party.name_zh, "password": accounts[party.email]})
            if party.kind in ("operator", "developer", "consumer"):
                entry["credit_code"] = credit_code("990100", chance)
            if party.scope:
                path = self.secret_file(party)
                if not path.exists():
                    write_private(path, secrets.token_urlsafe(32))
                entry["clients"].append({"client_id": party.client_id, "name": f"{party.slug} demo", "scope": party.scope,
                                         "secret": self.secret(party)})
        return {"organisations": [*entries.values()]}


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner may read, as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    partial.replace(path)


