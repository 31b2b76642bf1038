"""The main job, link by link: from raw data that stays put to a verified trace. Only commands and the SDK are used."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import shuyan
from demo import authorise, department, scenes
from demo.commands import run
from demo.data import District
from demo.layout import AUTHORITY, DEVELOPER, HEALTH, OPERATOR, write_private
from demo.market import DemoMarket
from demo.scenes import ProductPlan, Scene
from demo.screen import Screen, Step
from shuyan._text import language, t

RESULT_WITHIN = 120.0  # seconds


class Chain:
    """Plays the chain on a market. What was made is remembered, so that a later start goes on with it."""

    def __init__(self, market: DemoMarket, screen: Screen) -> None:
        self.market = market
        self.screen = screen
        self._file = market.layout.root / "chain.json"
        self.made: dict[str, Any] = {}
        if self._file.exists():
            self.made = json.loads(self._file.read_text(encoding="utf-8"))

    def play(self) -> None:
        """Everything at the first start; later a fresh job and a check that the log went on from where it was.

        Raises:
            LinkBroken: naming the step.
        """
        # Asked before anything runs, so that an interrupted first start is taken up where it stopped.
        if self.made.get("complete"):
            self.screen.heading("启动已有的市场", "Starting the market that is here")
            self.start_again()
            self.follow_update()
            self.fresh_job()
        else:
            self.screen.heading("建立市场", "Setting up a market")
            self.set_up()
            for scene in scenes.SCENES:
                self.screen.heading(f"场景：{scene.title}", f"Scene: {scene.resource.title_en}")
                self.play_scene(scene)
            self._remember("complete", True)
        self.screen.heading("核验", "Verification")
        self.verify()

    # -- the market -------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """From nothing to four connected nodes with registered resources."""
        market, step = self.market, self.screen.step
        with step("建立密钥、数据库和单位", "Keys, database and organisations"):
            market.initialise()
        with step("各部门准备原始数据", "The departments' raw data"):
            market.write_raw_data()
        with step("启动市场和协调服务", "Marketplace and coordinator started"):
            market.start_centre()
        with step("邀请并注册 {n} 个部门节点", "{n} departments' nodes invited and enrolled", n=len(market.districts)):
            market.in_parallel(lambda district: None if market.enrolled(district) else market.enrol(district))
        with step("启动节点代理，建立双向认证连接", "Node agents started and connected over mutual TLS"):
            market.start_nodes()
            market.wait_connected()
        with step("登记数据源和数据资源，许可计算程序", "Sources and resources registered, apps allowed") as current:
            market.in_parallel(self.register)
            current.note = t("{n} 个资源", "{n} resources", n=len(self.resources()))
        with step("数据主管部门核验节点密钥卡", "The data authority trusts the nodes' key cards"):
            market.trust_cards()
        self.appoint()

    def appoint(self) -> None:
        """Who answers for the sector, and the operator's agreement, without which no data can be asked for."""
        market = self.market
        market.connect(AUTHORITY).sectors.assign("health", HEALTH.organisation_id)
        with self.screen.step("授权运营协议：起草、接受、批准、公示、双方签署",
                              "Operation agreement: drafted, accepted, approved, noticed, signed by both") as current:
            current.note = self._once("agreement", lambda: authorise.operate(market))

    def start_again(self) -> None:
        """The processes of an earlier start."""
        with self.screen.step("启动市场、协调服务和 {n} 个节点", "Marketplace, coordinator and {n} nodes started",
                              n=len(self.market.districts)):
            self.market.initialise()
            self.market.start_all()
            self.market.wait_connected()
        with self.screen.step("续签撤销清单", "Revocation list renewed"):
            self.market.authority_command("revocations", "renew")

    def register(self, district: District) -> None:
        """What a department's administrator types."""
        department.register(district, self.market.layout.department(district) / "data", self.market.layout.node(district),
                            self.market.run)

    def allow_apps(self, district: District) -> None:
        """Let the apps that the scenes use run on a department's node."""
        department.allow_apps(self.market.layout.node(district), self.market.run)

    def resources(self) -> list[shuyan.Resource]:
        """What the catalogue shows; waits until every node's resources have arrived."""
        wanted = len(self.market.districts) * len(scenes.SCENES)
        return self.market.wait_for(
            lambda: found if len(found := [*self.market.connect(DEVELOPER).resources.list()]) >= wanted else None,
            t("{n} 个资源进入目录", "{n} resources in the catalogue", n=wanted))

    # -- one scene --------------------------------------------------------------------------------------------------

    def play_scene(self, scene: Scene) -> None:
        """From the scenario to an invoice."""
        step = self.screen.step
        with step("场景论证、数据需求审核、签发授权凭证", "Scenario argued, data demand reviewed, grant signed") as now:
            grant = now.note = self._once(f"{scene.key}.grant", lambda: self.grant(scene))
            self._remember("apps", self._digests())
        for plan in scene.products:
            with step("提交联邦计算：{title}", "Federated job submitted: {title}", title=self._job_name(plan)):
                job = self._once(f"{plan.key}.job", lambda plan=plan: self.submit(plan, grant).id)
            for district in self.asking(scene):
                with step("{name}节点管理员审批本次使用", "{name}'s administrator looks at this use of its data",
                          name=district.name_zh if language() == "zh" else district.name_en) as now:
                    now.note = self.approve_use(district, job)
            with step("联邦计算：{title}", "Federated job: {title}", title=self._job_name(plan)) as now:
                self.wait_reviewed(job, now)
            with step("出域审核通过，结果可用", "Egress approved, result available"):
                self.approve(job)
            with step("产品起草、登记编码、定价、上架", "Product drafted, registered, priced and listed") as now:
                product, now.note = self.list_product(plan, job)
            with step("{buyer}下单、转账到账", "{buyer} orders and pays", buyer=self._name(plan)) as now:
                order, now.note = self.buy(plan, product)
            with step("令牌与计量调用", "Token and metered calls") as now:
                now.note = self.call(plan, product)
            with step("账单预览与收益分成", "Invoice preview and revenue shares") as now:
                now.note = self.preview(plan, order)

        for trial in scene.trials:
            title = t(trial.title_zh, trial.title_en)
            with step("联邦计算与出域审核：{title}", "Federated job and egress review: {title}", title=title) as now:
                job = self._once(f"{trial.key}.job", lambda trial=trial: self.market.connect(DEVELOPER).jobs.submit(
                    grant, trial.app, trial.params, title=trial.title_zh, fresh=True).id)
                self.wait_reviewed(job, now)
                self.approve(job)

    def grant(self, scene: Scene) -> str:
        """The developer asks, everybody concerned looks at it, the authority's own command signs. Returns the grant's id."""
        return authorise.obtain(
            self.market, title=scene.title, purpose=scene.purpose, sector=scene.sector, public_benefit=scene.public_benefit,
            columns={r.id: scene.columns for r in self.resources() if r.name == scene.resource.name}, apps=[*scenes.APPS],
            output_forms=["statistics", "model"], minimum_cohort=scene.minimum_cohort, minimum_participants=3, term_days=90)

    def submit(self, plan: ProductPlan, grant: str, *, fresh: bool = False) -> shuyan.Job:
        return self.market.connect(DEVELOPER).jobs.submit(grant, plan.app, plan.params, title=plan.job_title, fresh=fresh)

    def asking(self, scene: Scene) -> list[District]:
        """The departments that approve each new use of the scene's data."""
        return [district for district in self.market.districts if district.slug in scene.resource.manual]

    def approve_use(self, district: District, job_id: str) -> str:
        """The job waits; the department's administrator types ``approvals`` and ``approve``. Returns the approval's number."""
        job = self.market.connect(DEVELOPER).jobs.get(job_id)
        job.wait(timeout=RESULT_WITHIN, until=("awaiting_approval", "reviewing"), poll=0.1)
        if job.status != "awaiting_approval":  # the same question was approved before
            return ""
        listed = self.market.node_json(district, "approvals")
        approved = [one["approval_id"] for one in listed if one["approval_id"] in job.waiting_for.values()]
        for approval in approved:
            self.market.node_command(district, "approve", approval)
        return ", ".join(approved)

    def wait_reviewed(self, job_id: str, step: Step) -> None:
        """Until the computation is done and its output waits for a decision."""
        job = self.market.connect(DEVELOPER).jobs.get(job_id)
        job.wait(timeout=RESULT_WITHIN, until=("reviewing",), poll=0.1)
        if job.status not in ("reviewing", "completed"):
            lines = job.log()
            raise RuntimeError(lines[-1].text if lines else job.status)
        rounds = job.rounds or job.round
        step.note = t("{n} 轮", "{n} round" if rounds == 1 else "{n} rounds", n=rounds)

    def approve(self, job_id: str) -> None:
        """Whoever authorised the use reviews what leaves: the data authority, and the departments whose data is in it."""
        authorise.release(self.market, job_id)
        self.market.connect(DEVELOPER).jobs.get(job_id).result()

    def list_product(self, plan: ProductPlan, job: str) -> tuple[str, str]:
        """Developer drafts, tests and submits, others review, operator registers, developer lists. Returns id and code."""
        developer, operator = self.market.connect(DEVELOPER), self.market.connect(OPERATOR)
        sector = next(scene.sector for scene in scenes.SCENES if plan in scene.products)
        product = self._once(f"{plan.key}.product", lambda: developer.products.create(
            title_zh=plan.title_zh, title_en=plan.title_en, sector=sector, delivery_form=plan.form, tier=2,
            summary_zh=plan.summary_zh, summary_en=plan.summary_en, description_zh=plan.description_zh,
            description_en=plan.description_en).id)
        if f"{plan.key}.code" not in self.made:
            version = developer.products.version(product, job)
            developer.products.price(product, access_fee_fen=plan.access_fee_fen, call_fee_fen=plan.call_fee_fen,
                                     included_calls=plan.included_calls)
            self.review_version(product, version["number"])
            registered = operator.products.register(product, version["number"])
            developer.products.publish(product)
            self._remember(f"{plan.key}.code", registered["registration_code"])
        return product, self.made[f"{plan.key}.code"]

    def review_version(self, product: str, number: int) -> None:
        """Tests by the developer, security and compliance by the operator, egress by those who authorised the use."""
        authorise.review_version(self.market, product, number)

    def buy(self, plan: ProductPlan, product: str) -> tuple[str, str]:
        """Returns the order's id and number."""
        buyer, operator = self.market.connect(plan.buyer), self.market.connect(OPERATOR)
        order = buyer.orders.place(product, key=f"demo-{product}")
        if order.status == "awaiting_payment":
            operator.orders.pay(order.id, bank_reference=f"HCB{order.number}", amount_fen=order.amount_fen)
        self._remember(f"{plan.key}.order", order.id)
        return order.id, order.number

    def call(self, plan: ProductPlan, product: str) -> str:
        """Two calls, the second one sent twice under its key: three requests, two of them counted."""
        buyer, key = self.market.connect(plan.buyer), uuid.uuid4().hex
        answers = [buyer.products.call(product, **plan.call), *(buyer.products.call(product, **plan.call, key=key)
                                                               for _ in range(2))]
        if answers[1] != answers[2]:
            raise RuntimeError(t("同一次调用的两次结果不同。", "The same call gave two different results."))
        self._remember(f"{plan.key}.calls", self.made.get(f"{plan.key}.calls", 0) + 2)
        score = answers[0].get("score")
        return t("统计表已交付", "table delivered") if score is None else t("评分 {s:.4f}", "score {s:.4f}", s=score)

    def preview(self, plan: ProductPlan, order: str) -> str:
        """Returns the total and the shares, in yuan."""
        preview = self.market.connect(plan.buyer).orders.preview(order)
        total, shares, made = preview["total_fen"], preview["shares"], self.made[f"{plan.key}.calls"]
        if preview["calls"] != made:
            raise RuntimeError(t("计量 {n} 次，实际调用 {m} 次。", "{n} calls were metered, {m} were made.", n=preview["calls"], m=made))
        if sum(share["amount_fen"] for share in shares) != total:
            raise RuntimeError(t("分成之和不等于账单金额。", "The shares do not add up to the invoice."))
        parts = " + ".join(f"{share['amount_fen'] / 100:,.2f}" for share in shares)
        return t("{n} 次调用，¥{total:,.2f} = {parts}", "{n} calls, ¥{total:,.2f} = {parts}", n=made, total=total / 100, parts=parts)

    # -- afterwards -------------------------------------------------------------------------------------------------

    def follow_update(self) -> None:
        """Grants name apps by digest, and those of an earlier version may not say all that is enforced: after an update
        the departments allow the new apps, and new grants are signed."""
        grants = self.market.connect(DEVELOPER).grants
        held = [grants.get(self.made[f"{scene.key}.grant"]) for scene in scenes.SCENES]
        if self.made.get("apps") == self._digests() and all(grant.state == "active" for grant in held):
            return
        with self.screen.step("计算程序已更新：各部门重新许可，重新签发授权", "The apps were updated: allowed and granted anew"):
            self.market.in_parallel(self.allow_apps)
            for scene in scenes.SCENES:
                self._remember(f"{scene.key}.grant", self.grant(scene))
            self._remember("apps", self._digests())

    def _digests(self) -> dict[str, str]:
        return {app.name: app.digest for app in self.market.connect(DEVELOPER).apps.list()}

    def fresh_job(self) -> None:
        """A new federated job under an existing grant."""
        scene = scenes.HEALTH
        plan = scene.products[0]
        with self.screen.step("新的联邦计算：{title}", "A fresh federated job: {title}", title=self._job_name(plan)) as now:
            job = self.submit(plan, self.made[f"{scene.key}.grant"], fresh=True).id
            for district in self.asking(scene):  # no news to them unless the grant is
                self.approve_use(district, job)
            self.wait_reviewed(job, now)
            self.approve(job)
        self.screen.say("     首个联邦结果用时 {n:.1f} 秒", "     first federated result after {n:.1f} s", n=self.screen.elapsed)

    def verify(self) -> None:
        """``shuyan verify``, as anyone would: fetched, kept, and checked offline against the log's key."""
        folder = self.market.layout.root / "evidence"
        folder.mkdir(exist_ok=True)
        key, checkpoint = folder / "log.vkey", folder / "last.checkpoint"
        if not key.exists():
            key.write_text(self.market.connect(DEVELOPER).audit.key() + "\n", encoding="utf-8")
        since = ["--since", str(checkpoint)] if checkpoint.exists() else []
        for scene in scenes.SCENES:
            for plan in scene.products:
                bundle = folder / f"{plan.key}.json"
                product = self.made[f"{plan.key}.product"]
                with self.screen.step("取证：{title}", "Evidence of {title}", title=self._product_name(plan)):
                    run("shuyan", "--url", self.market.layout.url, "verify", "--product", product, "--key", key, *since,
                        "--save", bundle)
                with self.screen.step("离线核验：{title}", "Checked offline: {title}", title=self._product_name(plan)):
                    said = run("shuyan", "verify", bundle, "--product", product, "--key", key, *since)
                self.screen.console.print(f"     {said.strip().splitlines()[-1]}", style="dim", markup=False)
        checkpoint.write_text(self.market.connect(DEVELOPER).audit.checkpoint(), encoding="utf-8")
        with self.screen.step("核对数据库与存证日志", "The database agrees with the log"):
            self.market.market_command("audit", "check")

    def suggestions(self) -> list[str]:
        """Commands and pages to try."""
        layout = self.market.layout
        relative = Path(".demo") if layout.root == Path.cwd() / ".demo" else layout.root
        product = self.made[f"{scenes.HEALTH.products[1].key}.product"]
        grant = self.made[f"{scenes.CREDIT.key}.grant"]
        node = relative / "departments" / self.market.districts[0].slug / "node"
        asking = relative / "departments" / scenes.HEALTH.resource.manual[0] / "node"
        return [
            f"{layout.url}/   " + t("用上面的账号登录，换不同角色看看", "sign in with one of the accounts above, then with another"),
            f".venv/bin/shuyan --url {layout.url} resources",
            f".venv/bin/shuyan login {layout.url} --client-id client_insurer --secret-file {relative}/clients/insurer.secret",
            f".venv/bin/shuyan products show {product}",
            f".venv/bin/shuyan --profile developer login {layout.url} --client-id {DEVELOPER.client_id} "
            f"--secret-file {relative}/clients/developer.secret",
            f'.venv/bin/shuyan --profile developer sql --grant {grant} --explain "{scenes.QUESTION}"',
            f".venv/bin/shuyan verify {relative}/evidence/{scenes.HEALTH.products[0].key}.json",
            f".venv/bin/shuyan-node --dir {node} status",
            f".venv/bin/shuyan-node --dir {node} journal --verify",
            f".venv/bin/shuyan-node --dir {asking} approvals --all",
        ]

    # -- memory -----------------------------------------------------------------------------------------------------

    def _once(self, key: str, make: Any) -> str:
        if key not in self.made:
            self._remember(key, make())
        return str(self.made[key])

    def _remember(self, key: str, value: object) -> None:
        self.made[key] = value
        write_private(self._file, json.dumps(self.made, indent=2))

    @staticmethod
    def _job_name(plan: ProductPlan) -> str:
        return plan.job_title if language() == "zh" else plan.title_en

    @staticmethod
    def _product_name(plan: ProductPlan) -> str:
        return plan.title_zh if language() == "zh" else plan.title_en

    @staticmethod
    def _name(plan: ProductPlan) -> str:
        return plan.buyer.name_zh if language() == "zh" else plan.buyer.name_en
