"""The flags about the input text, of create_pretraining_data.py and train_vocab.py."""

import dataclasses
from collections.abc import Iterator

from bert_paddle.common.errors import UserError
from bert_paddle.common.flag_fields import OnResume, PathUse
from bert_paddle.common.flags import REQUIRED, flag
from bert_paddle.pretrain.create import documents
from bert_paddle.pretrain.create.documents import TextFormat
from bert_paddle.pretrain.create.file_layouts import DOCUMENT_FORMATS
from bert_paddle.pretrain.create.text_files import ENCODING_ERRORS

INPUT = "input"


@dataclasses.dataclass
class TextArgs:
    """The flags of a program that reads text."""

    input_files: str = flag(
        REQUIRED,
        "text files, folders or patterns, separated by commas; of a folder .txt, .jsonl and "
        "wikiextractor's wiki_00, plain or .gz, .bz2, .xz, .zst",
        group=INPUT,
        path=PathUse.INPUT,
        utf8=False,
        on_resume=OnResume.FREE,  # compared by name, size and time of the files
    )
    form: str = flag(
        "lines",
        "lines: one sentence per line; prose: running text, cut into sentences. If not given: "
        "prose for JSON lines, wikiextractor and --document_format line",
        group=INPUT,
        choices=documents.INPUT_FORMATS,
    )
    document_format: str = flag(
        "auto",
        "what a document is: the text between blank lines, a line, a file, a line of JSON, a <doc> "
        "of wikiextractor; auto: JSON and wikiextractor are recognized, else blank_line with "
        "--form lines, file with prose",
        group=INPUT,
        choices=DOCUMENT_FORMATS,
    )
    text_field: str = flag("text", "the field of JSON lines that has the text", group=INPUT)
    language: str = flag(
        "en", "language of prose, for sentence splitting: en, zh, ...", group=INPUT
    )
    encoding_errors: str = flag(
        "strict",
        "bytes that are not UTF-8, and NUL: strict: an error; replace: dropped and counted",
        group=INPUT,
        choices=ENCODING_ERRORS,
    )
    explicit_flags: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """The files, folders and patterns of --input_files."""
        return [name.strip() for name in self.input_files.split(",") if name.strip()]

    @property
    def text_format(self) -> TextFormat:
        """How the text is to be read."""
        form = self.form if "form" in self.explicit_flags else None
        return TextFormat(
            form, self.document_format, self.language, self.text_field, self.encoding_errors
        )

    def text_problems(self, single_sequences: bool = False) -> Iterator[str]:
        """Problems with the flags of this class, one message each. single_sequences: whether a
        document may be a single sentence, since no pairs are made of it."""
        if self.input_files is not None and not self.inputs:
            yield "--input_files names no file"
        one_sentence = self.document_format == "line" and self.text_format.form == documents.LINES
        if one_sentence and not single_sequences:
            yield (
                "--document_format line and --form lines: a document would be one sentence, "
                "without a next one; give --form prose, or --nsp 0"
            )
        try:
            documents.language_code(self.language)
        except UserError as error:
            yield f"--{error}"  # the message begins with "language"
