"""`submission`: a valid zip from runs, all problems of an invalid one, rejected runs."""

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from bert_paddle import submission
from bert_paddle.cli import submission as command
from bert_paddle.common import atomic_files
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.common.errors import DataError, FlagError, OutputError, UserError
from bert_paddle.submission import SUBMISSION_FILES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
# Lines of the files with the header, as the server counts them (gluebenchmark.com).
LINES = {
    "CoLA.tsv": 1064,
    "SST-2.tsv": 1822,
    "MRPC.tsv": 1726,
    "STS-B.tsv": 1380,
    "QQP.tsv": 390966,
    "MNLI-m.tsv": 9797,
    "MNLI-mm.tsv": 9848,
    "QNLI.tsv": 5464,
    "RTE.tsv": 3001,
    "WNLI.tsv": 147,
    "AX.tsv": 1105,
}


def predictions(name: str, answer: str | None = None) -> str:
    """A valid file; the labels alternate unless `answer` is given."""
    task = SUBMISSION_FILES[name].task
    labels = [answer] if answer else list(task.submission_labels) or ["0.000", "5.000"]
    rows = range(SUBMISSION_FILES[name].test_set.rows)
    return "index\tprediction\n" + "".join(f"{i}\t{labels[i % len(labels)]}\n" for i in rows)


def write_run(folder: Path, *names: str, data: str = "glue", answer: str | None = None) -> Path:
    (folder / "predictions").mkdir(parents=True)
    for name in names:
        (folder / "predictions" / name).write_text(predictions(name, answer))
    (folder / "all_results.json").write_text(json.dumps({"data": data}))
    return folder


def call(*argv: str | Path) -> None:
    command.main([str(word) for word in argv])


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A zip of two runs' predictions for all tasks."""
    base = tmp_path_factory.mktemp("good")
    names = list(LINES)
    one = write_run(base / "one", *names[:4])
    other = write_run(base / "other", *names[4:])
    call(one, other, "-o", base / "s.zip")
    return base / "s.zip"


def test_the_zip_is_flat_and_has_the_files_of_the_server(good, capsys):
    with zipfile.ZipFile(good) as archive:
        assert archive.namelist() == list(LINES)
        for name, lines in LINES.items():
            text = archive.read(name).decode()
            assert text == predictions(name) and text.count("\n") == lines
    call("--check", good)
    assert "11 files, all in the format that the GLUE server accepts" in capsys.readouterr().out


def test_the_same_predictions_give_the_same_bytes(good, tmp_path):
    base = good.parent
    call(base / "other", base / "one", "--output", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == good.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.zip"]


def test_only_an_earlier_submission_is_replaced(good, tmp_path):
    base = good.parent
    runs = (base / "one", base / "other")
    call(*runs, "-o", tmp_path / "s.zip")
    call(*runs, "-o", tmp_path / "s.zip")
    mine = tmp_path / "mine.zip"
    with zipfile.ZipFile(mine, "w") as archive:
        archive.writestr("thesis.txt", "years of work")
    predicted = base / "one" / "predictions" / "CoLA.tsv"
    for path in (mine, predicted):
        before = path.read_bytes()
        with pytest.raises(OutputError, match="not written by this command"):
            call(*runs, "-o", path)
        assert path.read_bytes() == before


def test_unreadable_results_are_not_an_unfinished_run(tmp_path):
    run = write_run(tmp_path / "run", "CoLA.tsv")
    (run / "all_results.json").unlink()
    (run / "all_results.json").symlink_to(run / "all_results.json")
    with pytest.raises(OSError):
        call(run, "-o", tmp_path / "s.zip")


def test_missing_tasks_are_named_and_nothing_is_written(tmp_path):
    run = write_run(tmp_path / "run", "CoLA.tsv", "MNLI-m.tsv")
    with pytest.raises(DataError) as caught:
        call(run, "-o", tmp_path / "s.zip")
    message = str(caught.value)
    assert "SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI, AX (" in message
    assert "MNLI-mm.tsv" in message and "MNLI-m.tsv" not in message and "--fill_missing" in message
    assert not (tmp_path / "s.zip").exists()


def test_filled_tasks_are_complete_and_reported(tmp_path, capsys):
    run = write_run(tmp_path / "run", "SST-2.tsv")
    call(run, "-o", tmp_path / "s.zip", "--fill_missing")
    message = capsys.readouterr().err
    for name in LINES.keys() - {"SST-2.tsv"}:
        assert f"{name}: filled with " in message
    assert "SST-2.tsv" not in message and "not found" in message
    assert submission.zip_problems(tmp_path / "s.zip") == []
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.read("CoLA.tsv").decode() == predictions("CoLA.tsv", "1")
        assert archive.read("SST-2.tsv").decode() == predictions("SST-2.tsv")


def test_fill_value_comes_from_a_complete_training_file(tmp_path, capsys):
    """635 rows of WNLI, most of them 1 where the official file has more 0."""
    (tmp_path / "glue" / "WNLI").mkdir(parents=True)
    train = tmp_path / "glue" / "WNLI" / "train.tsv"
    header = "index\tsentence1\tsentence2\tlabel\n"
    rows = [f"{i}\ta\tb\t{int(i > 200)}\n" for i in range(635)]
    message: list[str] = []
    for count, answer in ((635, "1"), (634, "0")):
        train.write_text(header + "".join(rows[:count]))
        text = submission.fill_missing_file(
            SUBMISSION_FILES["WNLI.tsv"], str(tmp_path / "glue"), message.append
        )
        assert text.decode() == predictions("WNLI.tsv", answer)
    assert str(train) in message[0] and "whose file was not found" in message[1]


@pytest.mark.real_data
def test_fill_values_without_data_are_those_of_the_real_training_sets(glue_data_dir):
    for name, file in SUBMISSION_FILES.items():
        notes: list[str] = []
        by_file = submission.fill_missing_file(file, str(glue_data_dir), notes.append)
        assert by_file == submission.fill_missing_file(file, None, notes.append), (name, notes)


def change_zip(good: Path, target: Path, **changes) -> Path:
    """The valid zip with changed files: a function of the text, None to omit it, or a new name."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            change = changes.get(name.removesuffix(".tsv").replace("-", "_"), lambda text: text)
            if isinstance(change, str):
                new.writestr(change, old.read(name))
            elif change is not None:
                text = change(old.read(name).decode())
                new.writestr(name, text if isinstance(text, bytes) else text.encode())
    return target


FAULTS = {
    "header": (lambda t: t.replace("index\tprediction", "id,pred"), ":1: the header is 'id,pred'"),
    "short": (lambda t: t[: t.rstrip().rindex("\n") + 1], "has 3 rows fewer"),
    "label": (lambda t: t.replace("\n5\t", "\n5\tx"), ":7: 'x"),
    "index from 1": (lambda t: t.replace("\n0\t", "\n1\t", 1), ":2: the index is '1', not 0"),
    "fields": (lambda t: t.replace("\n3\t", "\n3 ", 1), ":5: 1 field(s) separated by a TAB"),
    "empty": (lambda t: "", "is empty"),
    "CR-LF": (lambda t: t.replace("\n", "\r\n"), ":1: the line ends with CR LF"),
    "open end": (lambda t: t[:-1], ":147: the last line does not end"),
    "not text": (lambda t: b"\xff\xfe", "is not UTF-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_file_is_reported(good, tmp_path, fault):
    change, message = FAULTS[fault]
    bad = change_zip(good, tmp_path / "bad.zip", WNLI=change)
    message = "WNLI.tsv has 145 rows, not 146" if fault == "short" else f"WNLI.tsv{message}"
    problems = submission.zip_problems(bad)
    assert any(
        message in problem or message.replace("tsv", "tsv ", 1) in problem for problem in problems
    )


@pytest.mark.parametrize("score", ["5.01", "-0.1", "nan", "inf", "0_1", " 2.7 ", "+1", ".5"])
def test_scores_are_from_0_to_5(good, tmp_path, score):
    bad = change_zip(
        good, tmp_path / "bad.zip", STS_B=lambda t: t.replace("\n7\t", f"\n7\t{score}#")
    )
    bad = change_zip(
        good, tmp_path / "bad.zip", STS_B=lambda t: t.replace("\n7\t5.000", f"\n7\t{score}")
    )
    assert submission.zip_problems(bad) == [f"STS-B.tsv:9: {score!r} is not a score from 0 to 5"]


def test_all_problems_are_reported_together(good, tmp_path):
    bad = change_zip(
        good,
        tmp_path / "bad.zip",
        CoLA=None,
        SST_2="sub/SST-2.tsv",
        RTE="rte.tsv",
        AX="notes.txt",
        MRPC=lambda t: t.replace("\n0\t0", "\n0\t7", 1),
    )
    with pytest.raises(DataError) as caught:
        call("--check", bad)
    message = str(caught.value)
    for words in (
        "CoLA.tsv is missing",
        "SST-2.tsv: in the folder 'sub/', but must be at the top",
        "'rte.tsv' must be named RTE.tsv",
        "'notes.txt' is not a submission file",
        "AX.tsv is missing",
        "MRPC.tsv:2: '7' is not one of 0, 1",
    ):
        assert words in message
    assert message.count("is missing") == 2


def test_the_document_shows_the_output(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(good, "submission.zip")
    call("--check", "submission.zip")
    shown = " ".join(DOCUMENT.split())
    assert f"```text {capsys.readouterr().out.strip()} ```" in shown
    changes = {
        "CoLA": lambda text: text[: text.rstrip().rindex("\n") + 1],
        "STS_B": lambda text: text.replace("\n7\t5.000", "\n7\t5.0133"),
        "QNLI": lambda text: text.replace(submission.HEADER, "id,label"),
        "WNLI": None,
        "RTE": "rte.tsv",
        "AX": "diag/AX.tsv",
    }
    change_zip(good, Path("theirs.zip"), **changes)
    with pytest.raises(DataError) as caught:
        call("--check", "theirs.zip")
    assert f"```text error: {caught.value} ```" in shown


def test_files_in_a_folder_are_reported_once_and_not_as_missing(good, tmp_path):
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / "bad.zip", "w") as new:
        new.mkdir("run")
        for name in old.namelist():
            content = old.read(name)
            new.writestr(f"run/{name}", content[:-1] if name == "AX.tsv" else content)
    assert submission.zip_problems(tmp_path / "bad.zip") == [
        "AX.tsv:1105: the last line does not end with a line feed",
        f"{', '.join(LINES)}: in the folder 'run/', but must be at the top level",
    ]


@pytest.mark.parametrize("code", ["ENOENT", "EROFS", "ENOSPC"])
def test_a_write_error_names_the_zip(tmp_path, monkeypatch, capsys, code):
    def refuse(path, content):
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number), str(path.with_name(f".{path.name}.77.part")))

    monkeypatch.setattr(atomic_files, "write_bytes", refuse)
    run, target = write_run(tmp_path / "run", *LINES), tmp_path / "s.zip"
    with pytest.raises(SystemExit) as exit_info, exit_with_one_line(debug=False):
        call(run, "-o", target)
    message = capsys.readouterr().err
    assert exit_info.value.code == (1 if code == "ENOSPC" else 2)
    assert str(target) in message and ".part" not in message
    assert "free some space" in message if code == "ENOSPC" else "give another path" in message


def test_predictions_of_a_custom_test_file_are_rejected(tmp_path):
    """Also if only run.json has --test_file; not if a later run predicted GLUE's test set."""
    run = write_run(tmp_path / "run", "RTE.tsv")
    (run / "run.json").write_text(json.dumps({"settings": {"test_file": "mine/RTE.jsonl"}}))
    with pytest.raises(DataError, match="predictions/RTE.tsv is for --test_file"):
        submission.collect([run])
    results = {"data": "glue", "predictions_RTE.tsv": "glue"}
    (run / "all_results.json").write_text(json.dumps(results))
    assert list(submission.collect([run])) == ["RTE.tsv"]
    results["predictions_RTE.tsv"] = "own"
    (run / "all_results.json").write_text(json.dumps(results))
    with pytest.raises(DataError, match="predictions/RTE.tsv is for --test_file"):
        submission.collect([run])


def test_a_damaged_member_is_reported(good, tmp_path):
    content = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        entry = archive.getinfo("QNLI.tsv")
    content[entry.header_offset + 60] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(content)
    (problem,) = submission.zip_problems(tmp_path / "bad.zip")
    assert problem.startswith("QNLI.tsv cannot be unpacked")


def test_files_that_are_not_a_zip(tmp_path):
    (tmp_path / "empty.zip").touch()
    (tmp_path / "text.zip").write_text("hello")
    for name, message in (
        ("empty.zip", "is not a zip file .it is empty"),
        ("text.zip", "is not a zip file"),
        ("none.zip", "no such file"),
        ("", "is a folder"),
        ("/dev/zero", "/dev/zero is not a regular file"),
    ):
        with pytest.raises(DataError, match=message):
            call("--check", tmp_path / name)


def test_all_unsuitable_runs_are_reported_together(tmp_path):
    demo = write_run(tmp_path / "demo", "CoLA.tsv", data="demo")
    own = write_run(tmp_path / "own", "RTE.tsv", data="own")
    half = write_run(tmp_path / "half", "SST-2.tsv")
    (half / "all_results.json").write_text('{"data": "gl')
    unpredicted = tmp_path / "unpredicted"
    (unpredicted / "model_3").mkdir(parents=True)
    other = write_run(tmp_path / "other")
    (other / "predictions" / "mine.tsv").touch()
    short = write_run(tmp_path / "short", "WNLI.tsv")
    (short / "predictions" / "WNLI.tsv").write_text("index\tprediction\n0\t1\n")
    runs = [demo, own, half, unpredicted, other, short, tmp_path, tmp_path / "none"]
    with pytest.raises(DataError) as caught:
        call(*runs, "-o", tmp_path / "s.zip", "--fill_missing")
    message = str(caught.value)
    for words in (
        f"{demo}: its predictions are for a demo set",
        f"{own}: its predictions are for other data, not for GLUE's test sets",
        f"{half} has no readable all_results.json",
        f"{unpredicted} has no predictions/: run it with --do_predict",
        f"{other / 'predictions'} has no GLUE predictions",
        "WNLI.tsv has 1 rows, not 146",
        f"{tmp_path} is not a run's folder",
        f"{tmp_path / 'none'}: no such folder",
    ):
        assert words in message
    assert not (tmp_path / "s.zip").exists()


def test_two_runs_of_a_task_are_rejected_unless_equal(tmp_path):
    one = write_run(tmp_path / "one", "RTE.tsv", "WNLI.tsv")
    same = write_run(tmp_path / "same", "RTE.tsv")
    submission.collect([one, same])
    other = write_run(tmp_path / "other", "RTE.tsv", answer="entailment")
    with pytest.raises(
        DataError, match=f"^RTE: {one} and {other} have different RTE.tsv files"
    ) as caught:
        submission.collect([one, same, other])
    assert "WNLI" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "RUN is missing.*--output .-o. is required"),
        (["run", "-o", "."], "is a folder"),
        (["run", "-o", "nowhere/s.zip"], "there is no folder nowhere"),
        (["run", "--check", "s.zip"], "omit RUN and --output"),
        (["run", "-o", "s.zip", "--data_dir", "nowhere"], "--data_dir nowhere: no such folder"),
        (["run", "-o", "s.zip", "--fill_mising"], "did you mean --fill_missing"),
    ],
)
def test_wrong_flags(argv, message):
    with pytest.raises(FlagError, match=message):
        call(*argv)


def test_data_errors_are_user_errors():
    assert issubclass(DataError, UserError) and UserError.exit_code == 2
