"""Reading TSV files: every irregularity of the official files, on invented rows; then the files."""

import time

import numpy as np
import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data.tsv import find_task_dir, quote_value, read_task_file
from bert_paddle.glue.tasks import TASKS

SST2, COLA, STSB, QQP, AX = (TASKS[n] for n in ("SST-2", "CoLA", "STS-B", "QQP", "AX"))
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
STSB_HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
MNLI_HEADER = (
    "index\tpromptID\tpairID\tgenre\tSentence1_binary_parse\tSentence2_binary_parse\t"
    "Sentence1_parse\tSentence2_parse\tsentence1\tsentence2\t"
)


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name="train.tsv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def error_message(task, path, split="train") -> str:
    with pytest.raises(DataError) as caught:
        read_task_file(task, path, split)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_single_texts(write):
    examples = read_task_file(SST2, write("sentence\tlabel\na fine film \t1\ndull\t0\n"), "train")
    assert examples.texts_a == ["a fine film ", "dull"]  # the space at the end is kept
    assert examples.texts_b is None
    assert examples.labels.dtype == np.int64
    assert examples.labels.tolist() == [1, 0]
    assert len(examples) == 2
    assert examples.source.endswith("train.tsv")


def test_cola_has_a_header_only_in_its_test_file(write):
    path = write("gj04\t1\t\t Birds sing. \nks08\t0\t*\tSing birds the. ")  # no final line feed
    dev = read_task_file(COLA, path, "dev")
    assert dev.texts_a == [" Birds sing. ", "Sing birds the. "]  # spaces at both ends are kept
    assert dev.labels.tolist() == [1, 0]
    test = read_task_file(COLA, write("index\tsentence\n0\tIt rained.\n", "test.tsv"), "test")
    assert test.texts_a == ["It rained."]
    assert test.labels is None


def test_pairs_by_header_name_whatever_the_number_of_columns(write):
    mnli = TASKS["MNLI"]
    blank = "\t" * 8
    train = write(f"{MNLI_HEADER}label1\tgold_label\n{blank}A cat.\tA dog.\tneutral\tneutral\n")
    dev = write(
        f"{MNLI_HEADER}label1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
        f"{blank}A cat.\tA dog.\tentailment\t\t\t\t\tcontradiction\n",
        "dev_matched.tsv",
    )
    test = write(f"{MNLI_HEADER.rstrip()}\n{blank}A cat.\tA dog.\n", "test_matched.tsv")
    for path, split in ((train, "train"), (dev, "dev"), (test, "test")):
        examples = read_task_file(mnli, path, split)
        assert (examples.texts_a, examples.texts_b) == (["A cat."], ["A dog."])
    assert read_task_file(mnli, train, "train").labels.tolist() == [1]
    assert read_task_file(mnli, dev, "dev").labels.tolist() == [2]  # the gold label, not label1
    assert read_task_file(mnli, test, "test").labels is None


def test_mrpc_reads_the_texts_not_the_ids(write):
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    examples = read_task_file(
        TASKS["MRPC"], write(header + "1\t11\t22\tHe left .\tHe went .\n"), "train"
    )
    assert (examples.texts_a, examples.texts_b) == (["He left ."], ["He went ."])
    assert examples.labels.tolist() == [1]


def test_label_order_of_rte_and_wnli_differs(write):
    rte = write(
        "index\tsentence1\tsentence2\tlabel\n0\tp\th\tentailment\n1\tp\th\tnot_entailment\n"
    )
    wnli = write("index\tsentence1\tsentence2\tlabel\n0\tp\th\t0\n1\tp\th\t1\n", "wnli.tsv")
    assert read_task_file(TASKS["RTE"], rte, "dev").labels.tolist() == [0, 1]
    assert read_task_file(TASKS["WNLI"], wnli, "dev").labels.tolist() == [0, 1]
    assert TASKS["WNLI"].labels[0] == TASKS["RTE"].labels[1] == "not_entailment"


def test_scores_are_float32(write):
    row = "0\tg\tf\ty\t0\ts\ts\tOne.\tTwo.\t"
    examples = read_task_file(
        STSB, write(f"{STSB_HEADER}\tscore\n{row}5.000\n{row}0\n{row}3.25\n"), "train"
    )
    assert examples.labels.dtype == np.float32
    assert examples.labels.tolist() == [5.0, 0.0, 3.25]
    assert (examples.texts_a[0], examples.texts_b[0]) == ("One.", "Two.")


def test_quotes_are_ordinary_characters(write):
    path = write('sentence\tlabel\n"a quote that opens\t1\nand "one" that closes"\t0\n')
    assert read_task_file(SST2, path, "train").texts_a == [
        '"a quote that opens',
        'and "one" that closes"',
    ]


def test_only_a_line_feed_ends_a_row(write):
    text = "a\u2028b\u2029c\x0bd\x0ce\x1cf\x1dg\x1eh\x85i\rj"
    examples = read_task_file(SST2, write(f"sentence\tlabel\n{text}\t1\n"), "train")
    assert examples.texts_a == [text]


def test_windows_line_ends_and_byte_order_mark(write):
    path = write("\ufeffsentence\tlabel\r\nkept \t1\r\nlast\t0\r\n")
    examples = read_task_file(SST2, path, "train")
    assert examples.texts_a == ["kept ", "last"]
    assert examples.labels.tolist() == [1, 0]


def test_a_leading_byte_order_mark_is_removed_and_others_are_kept(write):
    path = write("\ufeffgj04\t1\t\t\ufeffIt rains.\n")
    assert read_task_file(COLA, path, "train").texts_a == ["\ufeffIt rains."]
    path = write("sentence\tlabel\n\ufeffInside\ufeff\t1\n", "sst.tsv")
    assert read_task_file(SST2, path, "train").texts_a == ["\ufeffInside\ufeff"]


def test_short_rows_of_qqp_are_skipped_and_counted(write):
    good = "0\t1\t2\tWhy?\tHow?\t1\n"
    path = write(f"{QQP_HEADER}{good}7\t1\t2\tcut\n\n{good}8\t1\t2\tWhy?\tno label\n")
    examples = read_task_file(QQP, path, "train")
    assert (len(examples), examples.skipped, examples.labels.tolist()) == (2, 3, [1, 1])


def test_long_rows_and_short_test_rows_of_qqp_are_errors(write):
    long = write(f"{QQP_HEADER}0\t1\t2\tWhy?\tHow?\t1\textra\n")
    assert error_message(QQP, long) == ":2: expected 6 tab-separated fields, found 7"
    test = write("id\tquestion1\tquestion2\n0\tWhy?\n", "test.tsv")
    assert error_message(QQP, test, "test") == ":2: expected 3 tab-separated fields, found 2"


def test_a_qqp_file_of_only_short_rows_is_an_error(write):
    assert "no rows after the header (1 rows have too few fields)" in error_message(
        QQP, write(QQP_HEADER + "0\t1\n")
    )


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("SST-2", "", ": the file is empty"),
        ("SST-2", "\ufeff", ": the file is empty"),
        ("SST-2", "sentence\tlabel\n", ": no rows after the header"),
        (
            "SST-2",
            "sentence\tlabel\nx\t1\nno tab\n",
            ":3: expected 2 tab-separated fields, found 1",
        ),
        ("SST-2", "sentence\tlabel\nx\t1\ty\n", ":2: expected 2 tab-separated fields, found 3"),
        (
            "SST-2",
            "sentence\tlabel\nx\t1\n\ny\t1\n",
            ":3: expected 2 tab-separated fields, found an",
        ),
        (
            "CoLA",
            "gj04\t1\t\tFine.\ngj04\t1\tShort.\n",
            ":2: expected 4 tab-separated fields, found",
        ),
        ("CoLA", "label\tsentence\n1\tx\n", ":1: expected 4 tab-separated fields, found 2"),
        ("SST-2", "text\tlabel\nx\t1\n", ":1: the header has no column 'sentence'; found 'text, l"),
        ("SST-2", "sentence\tgold\nx\t1\n", ":1: the header has no column 'label'"),
        ("SST-2", "x\t1\ny\t0\n", ":1: the header has no column 'sentence'"),
        ("SST-2", "sentence\tlabel\nx\t2\n", ":2: label '2' where one of 0, 1 is expected"),
        (
            "SST-2",
            "sentence\tlabel\nx\t1\ny\t\n",
            ":3: an empty label where one of 0, 1 is expected",
        ),
        ("SST-2", "sentence\tlabel\nx\t1 \n", ":2: label '1 ' where"),
        ("SST-2", "sentence\tlabel\nx\t٣\n", ":2: label '٣' where"),
        ("STS-B", "x\ty\n", ":1: expected 10 tab-separated fields, found 2"),
        ("SST-2", "sentence\tlabel\nx\0y\t1\n", ":2: a NUL byte"),
        ("SST-2", b"sentence\tlabel\nfine\t1\ncaf\xe9\t1\n", ":3: not UTF-8 (byte 0xe9 at byte 4"),
        ("SST-2", "sentence\tlabel\n".encode("utf-16"), ":1: "),
    ],
)
def test_malformed_files_are_reported_with_the_line(write, task, content, message):
    assert error_message(TASKS[task], write(content)).startswith(message)


def test_a_repeated_header_is_an_error_also_where_no_label_shows_it(write):
    path = write("index\tsentence\n0\tA cat.\nindex\tsentence\n0\tA dog.\n", "test.tsv")
    assert error_message(SST2, path, "test").startswith(":3: the header line again")


def test_the_first_bad_label_is_shown_and_all_are_counted(write):
    row = "\t" * 8 + "p\th\t-\t"
    rows = [f"{row}{label}\n" for label in ("neutral", "-", "entailment", "-", "-")]
    path = write(f"{MNLI_HEADER}label1\tgold_label\n" + "".join(rows))
    assert error_message(TASKS["MNLI"], path) == (
        ":3: label '-' where one of entailment, neutral, contradiction is expected; "
        "3 rows of the file have invalid labels"
    )


@pytest.mark.parametrize(
    "score", ["", "high", "nan", "inf", "-0.1", "5.001", "1_0", "0_1", "٣", "1,5"]
)
def test_invalid_scores_are_rejected(write, score):
    row = "0\tg\tf\ty\t0\ts\ts\tOne.\tTwo.\t"
    path = write(f"{STSB_HEADER}\tscore\n{row}1.0\n{row}{score}\n{row}2.0\n")
    message = error_message(STSB, path)
    assert message.startswith(":3: ")
    assert message.endswith("where a number from 0 to 5 is expected")


def test_stsb_without_a_header_is_an_error(write):
    row = "0\tg\tf\ty\t0\ts\ts\tOne.\tTwo.\t1.0\n"
    assert error_message(STSB, write(row * 3)).startswith(":1: a row where the header should be")


def test_a_long_bad_value_is_truncated_to_one_line(write):
    path = write("sentence\tlabel\nx\t" + "long\r" * 1000 + "\n")
    assert len(error_message(SST2, path)) < 200


def test_a_missing_file_and_a_folder_have_different_messages(tmp_path):
    assert error_message(SST2, tmp_path / "none.tsv") == ": no such file"
    assert error_message(SST2, tmp_path) == ": a folder where a TSV file is expected"


def test_ax_labels_are_read_if_present(write):
    plain = write("index\tsentence1\tsentence2\n0\tp\th\n", "diagnostic.tsv")
    assert read_task_file(AX, plain, "test").labels is None
    labelled = write("index\tsentence1\tsentence2\tgold_label\n0\tp\th\tneutral\n", "labelled.tsv")
    assert read_task_file(AX, labelled, "test").labels.tolist() == [1]
    full = write("Logic\tPremise\tHypothesis\tLabel\n\tp\th\tcontradiction\n", "full.tsv")
    examples = read_task_file(AX, full, "test")
    assert (examples.texts_a, examples.texts_b) == (["p"], ["h"])
    assert examples.labels.tolist() == [2]


def test_ax_has_no_training_file(write):
    with pytest.raises(DataError, match="AX has no train file"):
        read_task_file(AX, write("x"), "train")


def test_reading_is_linear_and_fast(write):
    path = write("sentence\tlabel\n" + "an ordinary sentence of a review \t1\n" * 67349)
    read_task_file(SST2, path, "train")
    start = time.perf_counter()
    assert len(read_task_file(SST2, path, "train")) == 67349
    assert time.perf_counter() - start < 2.0  # 0.15 s on an idle core


# The official files

COMPLETE = ("CoLA", "SST-2", "MRPC", "RTE", "STS-B", "WNLI", "AX")


def split_files(task):
    named = [("train", task.train_file)] if task.train_file else []
    named += [("dev", dev.file) for dev in task.dev_sets]
    return named + [("test", test.file) for test in task.test_sets]


@pytest.mark.real_data
@pytest.mark.parametrize("name", COMPLETE)
def test_complete_tasks_have_the_official_number_of_rows(glue_data_dir, name):
    task = TASKS[name]
    folder = find_task_dir(task, str(glue_data_dir), {}, glue_data_dir / "none", task.files).folder
    assert folder is not None
    for split, file in split_files(task):
        examples = read_task_file(task, folder / file, split)
        assert (len(examples),) == task.official_rows(file)
        assert examples.skipped == 0
        assert all(text.strip() for text in examples.texts_a)


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(set(TASKS) - set(COMPLETE)))
def test_other_tasks_are_read_to_the_last_line(glue_data_dir, name):
    task = TASKS[name]
    folder = find_task_dir(task, str(glue_data_dir), {}, glue_data_dir / "none").folder
    assert folder is not None
    for split, file in split_files(task):
        if not (folder / file).is_file():
            continue
        examples = read_task_file(task, folder / file, split)
        content = (folder / file).read_bytes()
        lines = content.count(b"\n") + (not content.endswith(b"\n"))
        assert len(examples) + examples.skipped == lines - 1
        if file in ("dev_matched.tsv",) or name == "QNLI" and split != "train":
            assert (len(examples),) == task.official_rows(file)


@pytest.mark.real_data
def test_known_rows_of_the_official_files(glue_data_dir):
    qnli = read_task_file(TASKS["QNLI"], glue_data_dir / "QNLI" / "dev.tsv", "dev")
    assert sum(text.count("\ufeff") for text in qnli.texts_a + qnli.texts_b) == 3
    sst2 = read_task_file(SST2, glue_data_dir / "SST-2" / "train.tsv", "train")
    assert sst2.texts_a[0].endswith(" ")
    assert sst2.labels.mean() == pytest.approx(37569 / 67349)
    stsb = read_task_file(STSB, glue_data_dir / "STS-B" / "train.tsv", "train")
    assert stsb.labels[:2].tolist() == [5.0, np.float32(3.8)]


def test_a_value_in_a_message_is_short_even_if_it_is_shown_by_codes():
    assert quote_value("a" * 80) == repr("a" * 80)
    assert quote_value("a" * 81) == repr("a" * 80 + "...")
    quoted = quote_value("\U00018d09" * 80)
    assert quoted.endswith("...'") and len(quoted) <= 165
