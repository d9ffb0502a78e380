"""The check as a whole: facts, ways of computing and speed, part by part, then one table."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import bert_paddle
from bert_paddle.cli.selfcheck import (
    children,
    compare,
    devices,
    facts,
    network,
    small_model,
    speed,
    table,
)
from bert_paddle.cli.selfcheck.facts import OFF, OK, Fact
from bert_paddle.cli.selfcheck.ways import FLOAT32, WAYS, Device, Way, skip_reason
from bert_paddle.common import gpu_driver
from bert_paddle.common.printed_lines import print_line

FAILED, SKIPPED = "FAILED", "skipped"
Content = dict[str, Any]  # of the JSON file
_SPEED_LIMIT = 4  # times the time limit of the other parts: BERT-large has to be built


def run(
    device: str, limit: float, with_speed: bool, ways: Sequence[Way] = WAYS
) -> tuple[Content, str]:
    """Run all parts; returns the content of the JSON file and the table.

    device: auto, cpu or gpu. limit: seconds for each part. A part that fails does not stop the
    others; content["problems"] names each fact that is off and each part that failed.
    """
    started = time.monotonic()
    outcome = _progress("Paddle", lambda: children.run_part("facts", device, limit))
    paddle, driver = outcome.result or {}, _progress("driver", gpu_driver.ask_driver)
    sections = {
        "software": _collect(facts.software_facts),
        "hardware": _collect(facts.hardware_facts),
        "devices": _collect(lambda: devices.device_facts(paddle, outcome.reason, driver, device)),
        "folders": _collect(facts.folder_facts),
        "network": _collect(lambda: _progress("network", network.network_facts)),
    }
    sections["devices"].append(_paddles_own_check(device, limit))
    target = devices.make_device(paddle)
    way_results = [check_way(way, target, limit) for way in ways]
    shapes = speed.shapes(target) if with_speed else []
    speeds = [check_speed(shape, target, limit * _SPEED_LIMIT) for shape in shapes]
    content = {
        "bert_paddle": bert_paddle.__version__,
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "seconds": round(time.monotonic() - started, 1),
        "facts": {name: [asdict(fact) for fact in section] for name, section in sections.items()},
        "paddle": paddle,
        "ways": way_results,
        "speed": speeds,
        "problems": _problems(sections, way_results, speeds),
    }
    return content, _text(content, sections)


def _progress(name: str, function: Callable[[], Any]) -> Any:
    """Call the function, and say on stderr what is being done."""
    print_line(f"checking {name} ...")
    return function()


def _collect(source: Callable[[], Iterable[Fact]]) -> list[Fact]:
    """All facts of a source; if it fails, those before and one that names the error."""
    found: list[Fact] = []
    try:
        found.extend(source())
    except Exception as error:
        found.append(Fact("error", f"{type(error).__name__}: {error}", OFF))
    return found


def _paddles_own_check(device: str, limit: float) -> Fact:
    outcome = _progress(
        "paddle.utils.run_check", lambda: children.run_part("run_check", device, limit)
    )
    if outcome.reason:
        return Fact("run_check", outcome.reason, OFF)
    lines = [line for line in outcome.result if "works well" in line]
    return Fact("run_check", " ".join(lines or outcome.result[-1:]))


def check_way(way: Way, device: Device, limit: float) -> Content:
    """Train in one way and compare: its name, status, reason, the differences found and allowed."""
    result: Content = {"way": way.name, "status": SKIPPED, "reason": skip_reason(way, device)}
    result |= {"found": None, "allowed": asdict(way.tolerance), "seconds": 0.0, "output": ""}
    if result["reason"]:
        return result
    argument = {"way": way.name, "device": "gpu" if device.gpus else "cpu"}
    outcome = _progress(
        way.name, lambda: children.run_part("train", argument, limit, way.environment)
    )
    result |= {"seconds": round(outcome.seconds, 1), "output": outcome.output}
    if outcome.reason:
        return result | {"status": FAILED, "reason": outcome.reason}
    wanted = compare.reference()[way.optimizer]
    found = compare.Deviation(0, 0, 0)
    for head in small_model.HEADS:
        found = found.largest(compare.deviations(outcome.result[head], wanted[head]))
    result |= {"found": asdict(found), "records": outcome.result}
    if reason := _mistake(way, found, outcome.output):
        return result | {"status": FAILED, "reason": reason}
    return result | {"status": OK}


def _mistake(way: Way, found: compare.Deviation, output: str) -> str:
    """What is wrong with a training that ran to its end; "" if nothing is."""
    if exceeded := way.tolerance.exceeded_by(found):
        reason = f"the difference is too large: {', '.join(exceeded)}"
        if "its float16 gradients are not finite" in output:
            reason += "; the loss scaler skipped a step"
        return reason
    if way.is_half and not FLOAT32.exceeded_by(found):
        return "as exact as float32: half precision had no effect"
    notes = [line for line in output.splitlines() if way.avoids and way.avoids in line]
    return f"another way was taken: {notes[0]}" if notes else ""


def check_speed(shape: speed.Shape, device: Device, limit: float) -> Content:
    """Time one shape: its name, status, reason and what speed.measure returns."""
    argument: Content = {"shape": asdict(shape), "device": "gpu" if device.gpus else "cpu"}
    outcome = _progress(shape.name, lambda: children.run_part("speed", argument, limit))
    status = FAILED if outcome.reason else OK
    return {
        "shape": shape.name,
        "status": status,
        "reason": outcome.reason,
        "speed": outcome.result,
        "output": outcome.output,
    }


def _problems(
    sections: dict[str, list[Fact]], ways: Sequence[Content], speeds: Sequence[Content]
) -> list[str]:
    """One line for each fact that is off and each part that failed."""
    problems = [
        f"{fact.name}: {fact.value}"
        for section in sections.values()
        for fact in section
        if fact.status == OFF
    ]
    for result in (*ways, *speeds):
        if result["status"] == FAILED:
            problems.append(f"{result.get('way') or result['shape']}: {result['reason']}")
    return problems


def _text(content: Content, sections: dict[str, list[Fact]]) -> str:
    """The table."""
    lines = [f"bert-paddle check, {content['time']}, {content['seconds']:.0f} s", ""]
    for name, section in sections.items():
        lines += table.fact_lines(name, section)
    if content["ways"]:
        lines += table.way_lines(content["ways"], small_model.STEPS)
    if content["speed"]:
        lines += table.speed_lines(content["speed"])
    lines += table.result_lines(content)
    return "\n".join(lines)
