"""The flags for evaluation, saving, logging and resuming that all training programs share."""

import dataclasses

from bert_paddle.common.flag_fields import (
    EVALUATING,
    REQUIRED,
    TRAINING,
    OnRanks,
    OnResume,
    PathUse,
    Results,
    flag,
)
from bert_paddle.common.flag_groups import EVALUATION, SAVING

_RESUMED_ANYWAY = "unfinished runs are resumed anyway"
_GIVE_ONCE = "give it once, after --"


@dataclasses.dataclass
class RunArgs:
    """When a run is evaluated and saved, and where. Users' scripts rely on names and defaults."""

    eval_batch_size: int = flag(
        32,
        "batch size per GPU or CPU process in evaluation and prediction",
        group=EVALUATION,
        alias="per_device_eval_batch_size",
        minimum=1,
        maximum=10**6,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    eval_strategy: str | None = flag(
        None,
        "when to evaluate during training: every --eval_steps steps, after each epoch, or no: only "
        "at the end (default: before every save; steps if --eval_steps is given)",
        group=EVALUATION,
        alias="evaluation_strategy",
        choices=("steps", "epoch", "no"),
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    eval_steps: int = flag(
        -1,
        "steps between evaluations, with --eval_strategy steps (-1: --logging_steps)",
        group=EVALUATION,
        minimum=1,
        maximum=10**12,
        sentinel=-1,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    load_best_model_at_end: bool = flag(
        False,
        "after training, load the best checkpoint instead of the last",
        group=EVALUATION,
        on_resume=OnResume.FREE,
        needs=(TRAINING, EVALUATING),
    )
    early_stopping_patience: int = flag(
        -1,
        "stop after this many evaluations without improvement (-1: never)",
        group=EVALUATION,
        minimum=1,
        sentinel=-1,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
        needs=(TRAINING, EVALUATING),
    )

    output_dir: str = flag(
        REQUIRED,
        "folder for checkpoints and results",
        group=SAVING,
        path=PathUse.OUTPUT,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
        set_by_sweep=True,
        not_in_grid="each run has its own folder in the sweep's --output_dir",
        results=Results.SAME,
        in_comparisons=False,
    )
    overwrite_output_dir: bool = flag(
        False,
        "delete the run in the output folder and start over",
        group=SAVING,
        on_resume=OnResume.FREE,
        repeated=False,
        set_by_sweep=True,
        not_in_grid=_GIVE_ONCE,
        results=Results.SAME,
        in_comparisons=False,
        needs=(TRAINING,),
    )
    resume_from_checkpoint: str | None = flag(
        None,
        "auto: resume from the newest complete checkpoint in the output folder (start from "
        "scratch if there is none); or the path of a checkpoint",
        group=SAVING,
        path=PathUse.RESUME,
        keywords=("auto",),
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.GIVEN,
        repeated=False,
        set_by_sweep=True,
        not_in_grid=_RESUMED_ANYWAY,
        results=Results.SAME,
        in_comparisons=False,
        needs=(TRAINING,),
    )
    logging_steps: int = flag(
        -1,
        "steps between log lines (-1: a twentieth of all steps, at most 500)",
        group=SAVING,
        minimum=1,
        maximum=10**12,
        sentinel=-1,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
        results=Results.SAME,
    )
    save_strategy: str = flag(
        "steps",
        "when to save a checkpoint, and to evaluate unless an --eval_... flag says when: every "
        "--save_steps steps, after each epoch, or no: only at the end",
        group=SAVING,
        choices=("steps", "epoch", "no"),
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    save_steps: int = flag(
        500,
        "steps between checkpoints, with --save_strategy steps",
        group=SAVING,
        minimum=1,
        maximum=10**12,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    save_total_limit: int = flag(
        -1,
        "keep this many of the newest checkpoints, and the best one (-1: keep all)",
        group=SAVING,
        minimum=1,
        sentinel=-1,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
        results=Results.SAME,
    )
    report: bool = flag(
        True,
        "write report.html and pictures/ into the output folder at the end",
        group=SAVING,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
        results=Results.SAME,
        in_comparisons=False,
    )
    visualdl_dir: str | None = flag(
        None,
        "also log the metrics for VisualDL into this folder; use a separate folder for each run",
        group=SAVING,
        path=PathUse.OUTPUT,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.GIVEN,
        results=Results.SAME,
        in_comparisons=False,
    )
    profile: int = flag(
        0,
        "number of steps to profile, starting with the third (0: none); writes a table and a "
        "trace to profile/",
        group=SAVING,
        minimum=0,
        maximum=1000,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.SAME_LATER,
    )
    debug: bool = flag(
        False,
        "show the traceback of every error",
        group=SAVING,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
        repeated=False,
        not_in_grid=_GIVE_ONCE,
        results=Results.SAME,
    )
