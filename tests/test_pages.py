"""Every page: its links lead somewhere, its commands parse by the programs' own parsers, its flags
are there, its Chinese twin has the same commands and tables; and README's contract.

Commands that run as they stand: tests/test_command_lines.py, tests/test_documents.py (COMMANDS),
tests/sweep/test_glue_document.py (GLUE, SWEEPS), tests/glue/custom/test_custom_data_docs.py
(OWN_DATA), tests/clm/test_gpt2_document.py (GPT2), tests/report/test_report_document.py (REPORT),
tests/export/test_export.py (EXPORT), tests/pretrain/test_pretraining_document.py (PRETRAINING),
tests/sweep/test_benchmark.py (BENCHMARK), tests/cli/test_check.py (CHECK), tests/scripts (the
scripts and COLA).
"""

import os
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from documented_lines import COMMAND_A, COMMAND_B, COMMAND_C

from bert_paddle import cli
from bert_paddle.cli import completion
from bert_paddle.clm import args as clm_args
from bert_paddle.common import flags, peer_flags
from bert_paddle.glue import args as glue_args
from bert_paddle.pretrain import args as pretrain_args
from bert_paddle.pretrain.create import args as create_args
from bert_paddle.pretrain.create import vocab

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "README_zh.md", "CONTRIBUTING.md")), *DOCS]
PAGES.append(ROOT / "benchmarks" / "README.md")
TWINS = [path for path in PAGES if path.with_name(f"{path.stem}_zh.md").exists()]
TRANSLATED = {"README", "GETTING_STARTED", "COLA", "GPT2", "PRETRAINING", "FAQ"}
LINK = re.compile(r"\]\(([^()\s#]*)(?:#([^()\s]*))?\)")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

PROGRAMS: dict[str, Callable[[list[str]], object]] = {
    "run_glue.py": glue_args.parse_args,
    "run_pretrain.py": pretrain_args.parse_args,
    "run_clm.py": clm_args.parse_args,
    "scripts/create_pretraining_data.py": create_args.parse_args,
    "scripts/train_vocab.py": vocab.parse_args,
}
# Of pip, git, the launcher, Paddle's images and our shell scripts.
OTHER_FLAGS = set(
    "--help --version --config --gpus --build-arg --nnodes --no-deps --require-hashes --dev"
    " --paddle --overrides --slow --backend --devices --nproc_per_node --master --rank --host"
    " --elastic_level --max_restart --log_dir --user --init --logdir --nodes --ntasks-per-node"
    " --gpus-per-node --cpus-per-task --signal --rounds --steps --tokens --result --task".split()
)
MADE_BY_COMMANDS = ("benchmarks/stability.md",)
# Pages about wrong flags, other programs' and new ones; tests/test_peer_lines.py and
# tests/test_extending.py check the latter.
FLAGS_OF_OTHERS = ("BAD_INPUT.md", "FLAGS.md", "FLAGS_zh.md", "EXTENDING.md")


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(path: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    plain = FENCED.sub("", text_of(path))
    headings = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in words}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(FENCED.sub("", text_of(page))):
        if target.startswith(("https://", "http://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), f"{target}#{anchor}"


@cache
def known_flags() -> set[str]:
    classes = [completion._args_class(_module(name)) for name in cli.COMMANDS]
    fields = [f for one in [*classes, vocab.VocabArgs] for f in flags.declared_flags(one)]
    known = {spelling for field in fields for spelling in flags.spellings(field)}
    scripts = "".join(text_of(path) for path in (ROOT / "scripts").glob("*.*"))
    known |= {f"--{peer.name}" for peer in (*peer_flags.GLUE, *peer_flags.PRETRAIN)}
    return known | OTHER_FLAGS | set(re.findall(r'"(--[a-z]\w+)"', scripts))


def _module(command: str):
    return __import__(cli.module_name(command), fromlist=["main"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_flags_that_pages_name_are_there(page):
    if page.name not in FLAGS_OF_OTHERS:
        named = re.findall(r"(?<![\w-])--[a-z][\w-]+(?!…|\w)", text_of(page))
        assert set(named) - known_flags() - {"--eval_", "--do_"} == set()


def command_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks, continued lines joined, without comments."""
    blocks = [body for kind, body in FENCED.findall(text_of(page)) if kind in ("shell", "bash")]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def parse(line: str) -> None:
    """Check a command line: by the program's own parser, or that its script is there."""
    line = line.rpartition(" | ")[2].partition(" > ")[0].partition(" < ")[0]
    words = shlex.split(line, comments=True)
    while re.match(r"\w+=", words[0]):  # variables
        del words[0]
    program, *rest = words
    if program in ("pip", "mkdir", "export"):
        return
    if program == "make":
        assert f"\n{rest[0]}:" in text_of(ROOT / "Makefile"), line
    elif program == "bash":
        assert (ROOT / rest[0]).is_file(), line
    elif program == "bert-paddle":
        _parse_command(rest)
    else:
        assert Path(program).name == "python", line
        _parse_python([word for word in rest if word != "-u"])


def _parse_python(words: list[str]) -> None:
    if words[:2] == ["-m", "bert_paddle"]:
        return _parse_command(words[2:])
    if words[:2] == ["-m", "paddle.distributed.launch"]:
        words = words[next(i for i, word in enumerate(words) if word.endswith(".py")) :]
    if words[0] == "-m":
        path = ROOT / words[1].replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), words
        return None
    script = words[0].removeprefix("./")
    assert (ROOT / script).is_file(), words
    if script in PROGRAMS and words[1:] != ["..."]:
        PROGRAMS[script](words[1:])
    return None


def _parse_command(words: list[str]) -> None:
    if not words or "--config" in words or "--help" in words:  # run by tests/test_documents.py
        return
    command, *rest = words
    flags.parse(completion._args_class(_module(command)), "", rest)


WITH_COMMANDS = [page for page in PAGES if command_lines(page) and page.name != "EXTENDING.md"]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_parse(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in command_lines(page):
        _make_files(line)
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("="))
        parse(os.path.expandvars(line))


def _make_files(line: str) -> None:
    """What a command reads: files by their endings, and folders that end with a slash."""
    for word in shlex.split(line, comments=True):
        if word.endswith(("/", "shards", "$DATA_DIR")):
            Path(word).mkdir(parents=True, exist_ok=True)
        elif re.fullmatch(r"[\w/]+\.(csv|tsv|jsonl?|txt)", word):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("python run_glue.py --task_name RTE --model_name_or_path m --output_di o", "--output_di "),
        ("bert-paddle export m --format pickle", "must be one of"),
        ("LR=1 bash scripts/no_such.sh", "no_such"),
        ("python -m benchmarks.no_such", "no_such"),
        ("make no_such", "no_such"),
    ],
)
def test_a_wrong_command_is_noticed(line, wrong):
    with pytest.raises((AssertionError, flags.FlagError), match=wrong):
        parse(line)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_commands_in_the_text_are_there(page):
    for words in map(str.split, re.findall(r"`([^`\n]+)`", FENCED.sub("", text_of(page)))):
        words = words[next((i for i, word in enumerate(words) if "=" not in word), 0) :]
        if words[0] == "bert-paddle" and len(words) > 1:
            assert words[1] in cli.COMMANDS or words[1].isupper() or words[1] == "…", words
        if words[0].endswith("python") and words[1:2] == ["-m"] and "benchmarks." in words[2]:
            _parse_python(words[1:])
        if words[0] == "make":
            parse(" ".join(words))
        for word in words if page.parent == ROOT / "docs" else ():
            if re.fullmatch(r"(bert_paddle|tests|scripts|benchmarks|examples)/[\w./]*\w", word):
                assert (ROOT / word).exists() or word in MADE_BY_COMMANDS, word


def test_the_pages_that_are_wanted_in_chinese_are_there():
    names = {path.stem for path in TWINS}
    assert names >= TRANSLATED
    for path in TWINS:
        twin = path.with_name(f"{path.stem}_zh.md")
        assert f"[中文]({twin.name})" in text_of(path), path
        assert f"[English]({path.name})" in text_of(twin), twin


def shapes(text: str) -> list[tuple[int, int]]:
    """Rows and columns of a page's tables."""
    tables = re.findall(r"(?:^ *\|.*\|\n)+", FENCED.sub("", text), re.MULTILINE)
    rows = [table.splitlines() for table in tables]
    return [(len(lines), lines[0].replace("\\|", "").count("|")) for lines in rows]


@pytest.mark.parametrize("page", TWINS, ids=name_of)
def test_twins_have_the_same_headings_blocks_tables_and_flags(page):
    english, chinese = text_of(page), text_of(page.with_name(f"{page.stem}_zh.md"))
    levels = [re.findall(r"^#+(?= )", FENCED.sub("", text), re.M) for text in (english, chinese)]
    assert levels[0] == levels[1]
    # Comments behind a command may be translated.
    blocks = [
        [(kind, re.sub(r" +# .*", "", body)) for kind, body in FENCED.findall(text)]
        for text in (english, chinese)
    ]
    assert blocks[0] == blocks[1]
    assert shapes(english) == shapes(chinese)
    named = [set(re.findall(r"--[a-z]\w+", text)) for text in (english, chinese)]
    assert named[0] == named[1]


@pytest.mark.parametrize("readme", ["README.md", "README_zh.md"])
def test_readme_has_the_documented_lines_and_is_short(readme):
    text = text_of(ROOT / readme)
    assert len(text.splitlines()) <= 170
    for command in (COMMAND_A, COMMAND_B, COMMAND_C):
        assert command.strip() in text
    assert command_lines(ROOT / readme)[:2] == [
        line for line in text.splitlines() if line.startswith("bash scripts/")
    ]


def test_every_page_is_in_the_index():
    english = {f"docs/{path.name}" for path in DOCS if not path.stem.endswith("_zh")}
    assert english - {target for target, _ in LINK.findall(text_of(ROOT / "README.md"))} == set()
    index = text_of(ROOT / "README_zh.md")
    linked = {target for target, _ in LINK.findall(index)}
    translated = {path.stem.removesuffix("_zh") for path in DOCS if path.stem.endswith("_zh")}
    for name in (Path(page).stem for page in english):
        assert f"docs/{name}{'_zh' if name in translated else ''}.md" in linked, name
        if name not in translated:  # named as English only, alone or in a list that begins so
            assert re.search(rf"(英文：[^|]*\[{name}\]|\[{name}\][^|]*（英文)", index), name


def test_readmes_figures_are_those_of_the_pages():
    """README repeats figures of RESULTS and SPEED; the sentence on losses is the trajectory's."""
    results, speed = (text_of(ROOT / "docs" / name) for name in ("RESULTS.md", "SPEED.md"))
    trajectory = text_of(ROOT / "benchmarks" / "trajectory" / "README.md")
    sixty_steps = next(line for line in trajectory.splitlines() if "CoLA | 60 |" in line)
    for readme in ("README.md", "README_zh.md"):
        our_results, our_speed = sections(text_of(ROOT / readme))[4:6]
        tasks, _, *rows = re.findall(r"^\|.*\|$", our_results, re.M)
        for row in rows:
            for task, cell in zip(tasks.split("|")[2:-1], row.split("|")[2:-1], strict=True):
                lines = re.findall(rf"^\| {task.strip()} \|.*", results, re.M)
                assert set(numbers(cell)) <= set(numbers(" ".join(lines))), task
        assert len(numbers(our_speed)) > 10 and set(numbers(our_speed)) <= set(numbers(speed))
        (largest,) = re.findall(r"(\d\.\de-07)\]\(benchmarks/trajectory", our_speed)
        assert sixty_steps.split("|")[3].strip() == largest and f"{float(largest):.0e}" == "5e-07"


def sections(text: str) -> list[str]:
    return re.split(r"^## ", text, flags=re.MULTILINE)


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+\.\d\d\b", text)


def test_the_points_of_the_kills_are_those_of_the_record():
    record = text_of(ROOT / "benchmarks" / "soak.md").partition("| while |")[0]
    points = re.findall(r"^\| [^|]+ \| \w+ \| (\d+) \|", record, re.M)
    said = re.findall(r"each of the (\d+) points", text_of(ROOT / "docs" / "RELIABILITY.md"))
    assert said == [str(sum(map(int, points)))]
