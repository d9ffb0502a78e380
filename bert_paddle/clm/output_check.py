"""The check of a run's output files, before anything is read or written."""

from bert_paddle.clm.args import ClmArgs
from bert_paddle.training import run_files


def check_outputs(args: ClmArgs) -> None:
    """Check that no input and no file of others is in the way of the run's output files. Raises
    OutputError."""
    names = ("train_file", "validation_file", "vocab_file")
    inputs = [(f"--{name}", getattr(args, name)) for name in names]
    models = [("--model_name_or_path", args.model_name_or_path)]
    run_files.check_outputs(args, inputs, models, (), args.do_train)
