"""What may differ between a checkpoint and the run that resumes from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from bert_paddle.common.errors import OutputError
from bert_paddle.training import resume_check
from bert_paddle.training.train_state import TrainState

MODE = {"device": "cpu", "processes": "1", "encoder": "kernels", "paddle": "3.0"}
MODE |= dict.fromkeys(("to_static", "flash_attention", "fused_adamw"), "off")
ARGS = {"learning_rate": 1.0, "save_steps": 1, "seed": 1, "use_amp": False, "cpu_kernels": True}
ARGS |= {"model_name_or_path": "a", "init_from": None}
SAVED = TrainState(
    total=9,
    step=4,
    args=ARGS,
    fingerprints={"training data": "d", "initial model": "m", "dev set": "e"},
    compute_mode=MODE,
)


def check(explicit=(), unavailable="", **changes):
    new = replace(SAVED, **changes)
    return resume_check.check_same_run(SAVED, new, Path("model_4"), explicit, unavailable)


def refusal(*args, **changes):
    with pytest.raises(OutputError) as caught:
        check(*args, **changes)
    assert "\n" not in str(caught.value) and "another --output_dir" in str(caught.value)
    return str(caught.value)


def test_the_same_run():
    assert check() == resume_check.Differences()


def test_all_reasons_are_named_together():
    text = refusal(
        args=ARGS | {"seed": 2, "learning_rate": 2.0, "save_steps": 9},
        fingerprints={"training data": "x", "dev set": "y", "tokenizer": "new"},
    )
    assert "--seed was 1 and is 2" in text and "--learning_rate was 1.0 and is 2.0" in text
    assert "the training data, its labels or the vocabulary have changed" in text
    assert "the dev set changed" in text and "tokenizer" not in text and "save_steps" not in text


@pytest.mark.parametrize(("name", "value"), [("learning_rate", 0.5), ("use_amp", True)])
def test_what_mends_a_loss_that_is_not_finite_may_be_changed_explicitly(name, value):
    args = ARGS | {name: value}
    assert "to change it, give it explicitly" in refusal(args=args)
    (line,) = check([name], args=args).accepted
    assert line == f"--{name} was {ARGS[name]!r} and is {value!r} from step 5 on"


def test_the_same_model_by_another_path():
    moved = ARGS | {"model_name_or_path": "b"}
    assert check(args=moved) == resume_check.Differences()
    digests = SAVED.fingerprints | {"initial model": "other"}
    text = refusal(args=moved, fingerprints=digests)
    assert "--model_name_or_path was 'a' and is 'b'" in text and "initial model changed" in text
    assert "--init_from was None and is 'b'" in refusal(args=ARGS | {"init_from": "b"})


def test_changed_test_and_held_out_rows_are_accepted_and_told():
    saved = replace(SAVED, fingerprints={"test set a.tsv": "t", "held-out rows": "h"})
    new = replace(saved, fingerprints={"test set a.tsv": "u", "held-out rows": "i"})
    differences = resume_check.check_same_run(saved, new, Path("m"))
    assert differences.evaluation_changed and len(differences.accepted) == 2


def test_kernels():
    layers = MODE | {"encoder": "layers"}
    off = ARGS | {"cpu_kernels": False}
    assert "resume with --cpu_kernels 1" in refusal(["cpu_kernels"], compute_mode=layers, args=off)
    text = refusal(unavailable="no C compiler", compute_mode=layers)
    assert "cannot use (no C compiler)" in text and "with --cpu_kernels 0" in text
    (line,) = check(["cpu_kernels"], "no C compiler", compute_mode=layers, args=off).accepted
    assert "no C compiler" in line and "other dropout masks" in line
    saved = replace(SAVED, compute_mode=layers)
    with pytest.raises(OutputError, match="resume with --cpu_kernels 0"):
        resume_check.check_same_run(saved, SAVED, Path("m"))


def test_other_ways_to_compute():
    text = refusal(compute_mode=MODE | {"to_static": "on", "encoder": "layers"})
    assert "--to_static was off and is on" in text
    assert "--fused_adamw was off and is on" in refusal(compute_mode=MODE | {"fused_adamw": "on"})
    gpu = {"device": "gpu", "encoder": "layers", "processes": "2", "paddle": "3.1"}
    (line,) = check(compute_mode=MODE | gpu).accepted
    assert line.startswith("device cpu before and gpu now, processes 1 before and 2 now, Paddle")


def test_flags_are_compared_where_a_checkpoint_does_not_say_how_it_was_computed():
    old = replace(SAVED, compute_mode={})
    new = replace(SAVED, args=ARGS | {"cpu_kernels": False})
    with pytest.raises(OutputError, match="--cpu_kernels was True and is False"):
        resume_check.check_same_run(old, new, Path("m"))
    assert resume_check.check_same_run(old, SAVED, Path("m")) == resume_check.Differences()
