"""Every fuzz target on its seeds, on kept findings and on some mutations, without the fuzzer."""

import random
from pathlib import Path

import pytest
import targets
from seeds import seeds

HERE = Path(__file__).parent
CORPUS = sorted(path for path in (HERE / "corpus").rglob("*") if path.is_file())


@pytest.mark.parametrize("name", targets.TARGETS)
def test_sound_inputs_are_read(name, tmp_path):
    answers = [targets.survives(name, content, tmp_path) for content in seeds(name)]
    if name == "safetensors":
        assert "no usable bert.embeddings" in answers.pop()  # one bfloat16 tensor alone
    assert set(answers) == {None}


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_is_answered(path, tmp_path):
    assert targets.survives(path.parent.name, path.read_bytes(), tmp_path)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_mutations_are_answered(name, tmp_path):
    rng = random.Random(name)
    whole = seeds(name)
    answers = set()
    for _ in range(150):
        content = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(content))
            kind = rng.randrange(3)
            if kind == 0:
                content[place] = rng.randrange(256)
            elif kind == 1:
                del content[place : place + rng.randint(1, 8)]
            else:
                content[place:place] = content[place : place + rng.randint(1, 8)]
            content = content or bytearray(b"\0")
        answers.add(targets.survives(name, bytes(content), tmp_path))
    assert len(answers) > 1  # the mutations do reach what is checked
