"""What can go wrong, as types. Imports nothing, so that every module may raise these.

A `UserError` is a mistake in the user's flags, files or data: one line, exit code 2. A `RunError`
is something that broke while running (a full disk, a dead process, a loss that is no number): one
line, exit code 1. Any other exception is a fault of ours and keeps its traceback.
"""


class BertPaddleError(Exception):
    """Base of the errors that are told in one line; the text says what, where and the way out."""

    exit_code = 1


class UserError(BertPaddleError):
    """A mistake in what the user gave."""

    exit_code = 2


class FlagError(UserError):
    """Wrong flags; all problems of one command line together."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("; ".join(problems))


class DataError(UserError):
    """A data file that is missing or malformed; names `path:line` where a line is at fault."""


class WeightsError(UserError):
    """A model folder, configuration, vocabulary or weight file that cannot be used as it is."""


class OutputError(UserError):
    """An output folder that cannot be used, or a checkpoint that does not fit the run."""


class RunError(BertPaddleError):
    """Something broke while running; nothing already written is lost."""


class Interrupted(BertPaddleError):
    """A signal ended the run; its exit code is 128 and the signal's number."""

    def __init__(self, words: str, number: int):
        super().__init__(words)
        self.exit_code = 128 + number
