"""``python -m demo``: starts a whole market on this machine and plays the main job on it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demo.chain import Chain
from demo.layout import PARTIES, Layout, Ports
from demo.market import AlreadyRunning, DemoMarket, PortTaken
from demo.processes import ProcessFailed
from demo.screen import LinkBroken, Screen
from shuyan._text import language, set_language, t

NEEDED_BYTES = 512 * 1024**2


def main() -> int:
    """Exit code 0 after Ctrl-C or a verified ``--once``; 1 when a link of the chain broke; 2 when nothing was begun."""
    options = _options()
    if options.lang:
        set_language(options.lang)
        os.environ["SHUYAN_LANG"] = options.lang  # for every command and process started from here
    layout = Layout(Path(options.dir).resolve(), Ports(options.port, options.port + 1, options.port + 2))
    screen = Screen()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    free = shutil.disk_usage(layout.root.parent).free
    if free < NEEDED_BYTES:
        screen.say("磁盘空间不足：剩余 {free} MB，演示需要约 500 MB。", "Not enough disk: {free} MB free, the demo needs about 500 MB.",
                   free=free // 1024**2)
        return 2
    try:
        with DemoMarket(layout) as market, _ending_in_peace():
            market.check_ports()
            if options.fresh:
                _wipe(layout.root)
            chain = Chain(market, screen)
            chain.play()
            _goodbye(screen, layout, chain)
            if options.once:
                return 0
            return _stay(screen, market)
    except PortTaken as taken:
        screen.say("端口 {port} 已被占用。请先停止占用它的程序，或换一个起始端口：make demo ARGS=\"--port 8800\"",
                   "Port {port} is taken. Stop what uses it, or choose other ports: make demo ARGS=\"--port 8800\"",
                   port=taken.port)
        return 2
    except AlreadyRunning:
        screen.say("{folder} 里的演示已在运行。", "A demo is running in {folder} already.", folder=layout.root)
        return 2
    except LinkBroken as broken:
        screen.say("\n链条在这一步断开：{step}\n{reason}\n日志在 {logs}。", "\nThe chain broke here: {step}\n{reason}\nLogs: {logs}.",
                   step=broken.step, reason=broken.reason, logs=layout.logs)
        return 1
    except KeyboardInterrupt:
        screen.say("\n已全部停止。", "\nEverything is stopped.")
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=t(
        "在本机启动完整的数据市场并演示主流程。", "Start a whole market on this machine and play the main job."))
    parser.add_argument("--once", action="store_true", help=t("核验完成后退出。", "end after the chain is verified"))
    parser.add_argument("--fresh", action="store_true", help=t("清除以前的数据，从头开始。", "forget earlier data and start over"))
    parser.add_argument("--port", type=int, default=8700, metavar="N", help=t(
        "网站端口；其后两个端口供节点使用（默认 8700）。", "port of the web site; the next two serve the nodes (default 8700)"))
    parser.add_argument("--dir", default=".demo", metavar="DIR", help=t("数据目录（默认 .demo）。", "data folder (default .demo)"))
    parser.add_argument("--lang", choices=("zh", "en"), help=t("界面语言。", "language"))
    return parser.parse_args()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wipe(root: Path) -> None:
    """Empty the folder, but for the lock we hold."""
    for path in root.iterdir():
        if path.name == "lock":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _goodbye(screen: Screen, layout: Layout, chain: Chain) -> None:
    accounts = layout.accounts()
    screen.heading("数据市场已就绪", "The market is ready")
    screen.table([
        (t("网站", "Web site"), layout.url),
        (t("接口文档", "API reference"), f"{layout.url}/openapi"),
        (t("数据与日志", "Data and logs"), str(layout.root)),
    ])
    screen.heading("演示账号（密码在首次启动时随机生成）", "Demo accounts (random passwords, made at the first start)")
    screen.table([(party.name_zh if language() == "zh" else party.name_en, party.kind, party.email, accounts[party.email])
                  for party in PARTIES],
                 (t("单位", "organisation"), t("角色", "party"), t("邮箱", "e-mail"), t("密码", "password")))
    screen.heading("可以试试", "What to try next")
    for line in chain.suggestions():
        screen.console.print(f"  {line}", markup=False)


def _stay(screen: Screen, market: DemoMarket) -> int:
    screen.say("\n按 Ctrl-C 停止。", "\nPress Ctrl-C to stop.")
    try:
        while True:
            time.sleep(0.5)
            for failure in market.processes.ended():
                screen.say("进程 {name} 意外退出，正在重新启动。", "{name} ended unexpectedly; it is started again.",
                           name=failure.name)
                try:
                    market.processes.restart(failure.name)
                except ProcessFailed as again:
                    raise LinkBroken(failure.name, str(again)) from again
    except KeyboardInterrupt:
        screen.say("\n正在停止 …", "\nStopping …")
        return 0


@contextmanager
def _ending_in_peace() -> Iterator[None]:
    """While everything is being stopped, a second Ctrl-C changes nothing."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
