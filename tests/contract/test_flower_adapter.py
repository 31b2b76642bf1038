"""The non-public parts of Flower that the adapter stands on; a new Flower release has to pass here first."""

from __future__ import annotations

import ast
import inspect
import logging
import os
from pathlib import Path
from typing import Any

import flwr
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.common import serde
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Strategy
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

import shuyan.federation
from shuyan.federation import _flower
from shuyan.federation.vectors import Segment

PUBLIC = {"flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy"}
SEGMENTS = (Segment("cohort#", 1, 1), Segment("v", 3, 2))


def question(**expect: int) -> RecordDict:
    return _flower.question_content({"x": 1.5, "s": "区"}, {"w": np.arange(4.0)}, expect or {"v": 3})


def sent(content: RecordDict, number: int = 7, run: str = "run-1", round_: int = 2) -> bytes:
    return _flower.Outgoing(content, "query.tally", run, round_).to_node(number, "task-9")


def test_the_pinned_version() -> None:
    assert flwr.__version__ == "1.41.0"


def test_nothing_outside_the_adapter_touches_flowers_inside() -> None:
    root = Path(next(iter(shuyan.federation.__path__)))
    strangers = []
    for path in root.rglob("*.py"):
        if path.name == "_flower.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
            strangers += [(path.name, name) for name in names if name.split(".")[0] == "flwr" and name not in PUBLIC]
    assert strangers == []


def test_telemetry_and_update_checks_are_off() -> None:
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert not logging.getLogger("flwr").isEnabledFor(logging.INFO)


def test_the_grid_interface_is_the_one_we_implement() -> None:
    assert Grid.__abstractmethods__ == {
        "set_run", "run", "create_message", "get_node_ids", "push_messages", "pull_messages", "send_and_receive",
    }
    assert list(inspect.signature(Grid.send_and_receive).parameters) == ["self", "messages", "timeout"]
    assert list(inspect.signature(Strategy.start).parameters)[:4] == ["self", "grid", "initial_arrays", "num_rounds"]


def test_an_outgoing_message_is_what_flower_itself_would_read() -> None:
    data = sent(question())

    message = serde.message_from_proto(_flower.ProtoMessage.FromString(data))

    metadata = message.metadata
    assert (metadata.dst_node_id, metadata.message_id, metadata.group_id, metadata.message_type) == (
        7, "task-9", "2", "query.tally")
    assert metadata.run_id == _flower.flower_run_id("run-1") < 2**63
    assert message.content["config"] == ConfigRecord({"x": 1.5, "s": "区"})
    np.testing.assert_array_equal(message.content["arrays"]["w"].numpy(), np.arange(4.0))


def test_messages_made_by_strategies_carry_placeholders_until_they_are_sent() -> None:
    """TaskIdentity is one per process; two runs at once would mix up their numbers if it were used."""
    assert (TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id) == (1, 0, 1)
    assert Message(question(), 5, "query.tally").metadata.run_id == 0


def respelt(change: Any) -> bytes:
    """The question with its protobuf changed."""
    proto = _flower.ProtoMessage.FromString(sent(question()))
    change({item.key: item for item in proto.content.items}, proto)
    return bytes(proto.SerializeToString())


def spell(array: np.ndarray, padding: int = 0) -> bytes:
    """An array as NumPy's file format, with more blanks in its header than needed."""
    header = str({"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}) + " " * (50 + padding) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes()


def test_another_spelling_is_no_other_question() -> None:
    """Or one question could be put twice, to different departments, and their sums subtracted."""
    def blanks(items: Any, _: Any) -> None:
        items["arrays"].array_record.items[0].value.data = spell(np.arange(4.0), 64)

    def unsigned(items: Any, _: Any) -> None:
        items["expect"].config_record.items[0].value.uint64 = 3

    def unknown_field(_: Any, proto: Any) -> None:
        proto.content.MergeFromString(bytes([0xFA, 0x3E, 1, 1]))  # a field of number 1007

    def negative_zero(items: Any, _: Any) -> None:
        items["arrays"].array_record.items[0].value.data = spell(np.array([-0.0, 1, 2, 3]))

    def order(items: Any, _: Any) -> None:
        config = items["config"].config_record
        first, second = list(config.items)
        del config.items[:]
        config.items.extend([second, first])

    digest = _flower.read_question(sent(question())).content_digest
    for change in (blanks, unsigned, unknown_field, negative_zero, order):
        assert _flower.read_question(respelt(change)).content_digest == digest, change.__name__


def test_a_question_brings_single_values_and_vectors_only() -> None:
    def array(data: bytes, stype: str = "numpy.ndarray") -> Any:
        def change(items: Any, _: Any) -> None:
            value = items["arrays"].array_record.items[0].value
            value.data, value.stype = data, stype
        return change

    def record(items: Any, proto: Any) -> None:
        proto.content.items.add(key="more").config_record.SetInParent()

    def twice(items: Any, proto: Any) -> None:
        proto.content.items.add().CopyFrom(items["config"])

    def key_twice(items: Any, _: Any) -> None:
        config = items["config"].config_record
        config.items.add().CopyFrom(config.items[0])

    def config(**value: Any) -> Any:
        def change(items: Any, _: Any) -> None:
            chosen = items["config"].config_record.items[0].value
            chosen.Clear()
            for name, item in value.items():
                setattr(chosen, name, item)
        return change

    def shape(items: Any, _: Any) -> None:
        items["arrays"].array_record.items[0].value.shape.append(1)

    def listed(items: Any, _: Any) -> None:
        items["config"].config_record.items[0].value.double_list.vals.append(1.0)

    good = spell(np.arange(4.0))
    for change in (array(spell(np.arange(4, dtype=np.float32))), array(spell(np.arange(4.0).reshape(2, 2))), array(good + b"x"),
                   array(good[:-1]), array(b""), array(good, "other"), array(spell(np.array([1.0, np.nan]))), record, twice,
                   key_twice, config(double=float("nan")), config(bytes=b"x"), config(sint64=2**60), shape, listed):
        with pytest.raises(ValueError, match=r".*"):
            _flower.read_question(respelt(change))


def test_the_content_digest_ignores_run_round_and_node_and_nothing_else() -> None:
    base = _flower.read_question(sent(question()))

    assert base.message_type == "query.tally"
    assert base.expect == {"v": 3}
    assert base == _flower.read_question(sent(question(), number=8, run="run-2", round_=5))
    assert base.content_digest != _flower.read_question(sent(question(v=4))).content_digest
    other = _flower.question_content({"x": 1.5, "s": "区"}, {"w": np.arange(4.0) + 1}, {"v": 3})
    assert base.content_digest != _flower.read_question(sent(other)).content_digest


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"\x00" * 40, sent(RecordDict({})), sent(RecordDict({"expect": ArrayRecord()})),
                                  sent(RecordDict({"expect": ConfigRecord({"v": 1.5})})),
                                  sent(RecordDict({"expect": ConfigRecord({"v": "x"})}))],
                         ids=["empty", "not utf-8", "zeros", "no expectation", "an array", "a fraction", "a text"])
def test_what_is_no_question_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        _flower.read_question(data)


def words() -> dict[str, np.ndarray]:
    return {"cohort#": np.array([[5]], dtype=np.uint64), "v": np.arange(6, dtype=np.uint64).reshape(2, 3) + 2**63}


def test_a_masked_reply_reads_back_and_names_its_question() -> None:
    data = _flower.masked_reply(sent(question()), words())

    read = _flower.read_masked(data, SEGMENTS)
    for name, array in words().items():
        np.testing.assert_array_equal(read[name], array)
    metadata = serde.message_from_proto(_flower.ProtoMessage.FromString(data)).metadata
    assert (metadata.reply_to_message_id, metadata.src_node_id, metadata.dst_node_id) == ("task-9", 7, 1)


def test_a_reply_of_another_shape_is_refused() -> None:
    good = words()
    for wrong in ({"v": good["v"]}, {**good, "v": good["v"][:, :2]}, {**good, "w": good["v"]}, {**good, "v": good["v"][:1]}):
        with pytest.raises(ValueError, match=r".*"):
            _flower.read_masked(_flower.masked_reply(sent(question()), wrong), SEGMENTS)
    for data in (b"", b"\xff", sent(question())):
        with pytest.raises(ValueError, match="not a"):
            _flower.read_masked(data, SEGMENTS)


def test_a_plain_array_is_no_masked_reply() -> None:
    plain = RecordDict({"masked": ArrayRecord({"cohort#": Array(np.array([[5]], dtype=np.uint64)),
                                               "v": Array(np.zeros((2, 3), dtype=np.uint64))})})
    with pytest.raises(ValueError, match="asked for"):
        _flower.read_masked(sent(plain), SEGMENTS)


def test_a_strategy_sees_the_sums_as_one_reply() -> None:
    reply = _flower.sum_reply(Message(question(), 5, "query.tally"), {"v": np.arange(3.0)}, 42, 4)
    np.testing.assert_array_equal(_flower.sums_of(reply)["v"], np.arange(3.0))
    assert dict(reply.content["metrics"]) == {"cohort": 42, "participants": 4}


def test_a_server_app_gets_grid_and_context() -> None:
    seen: list[object] = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        seen.extend([grid, context.run_id])

    app("grid", Context(run_id=3, node_id=1, node_config={}, state=RecordDict(), run_config={}))  # type: ignore[arg-type]
    assert seen == ["grid", 3]


def test_an_empty_run_can_be_made() -> None:
    run = _flower.empty_run("run-1")
    assert isinstance(run, Run)
    assert run.run_id == _flower.flower_run_id("run-1")


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (2, 3), (3, 0)])
def test_vectors_are_written_as_flower_would(shape: tuple[int, ...]) -> None:
    vector = np.arange(float(np.prod(shape))).reshape(shape)

    written = _flower.question_content({}, {"w": vector}, {"v": 1})[_flower.ARRAYS]["w"]

    assert written == Array(vector)
    np.testing.assert_array_equal(written.numpy(), vector)
