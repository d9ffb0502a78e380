"""Splits Chinese text into words, for masking whole words."""

from collections.abc import Callable, Iterable

from bert_paddle.common import extras, own_cache

SEGMENTERS = ("none", "jieba")


def load_segmenter(segmenter: str) -> Callable[[str], Iterable[str]] | None:
    """A function that splits Chinese text into words. Raises UserError without jieba."""
    if segmenter == "none":
        return None
    jieba = extras.import_extra("jieba", "--segmenter jieba")
    jieba.setLogLevel("ERROR")
    tokenizer = jieba.Tokenizer()
    # jieba caches its dictionary, as Python's marshal format, in the folder for temporary files,
    # where any user could have put a file of that name.
    try:
        tokenizer.tmp_dir = str(own_cache.open_folder("jieba"))
        tokenizer.initialize()
    except OSError:
        with own_cache.temporary_folder() as folder:
            tokenizer.tmp_dir = str(folder)
            tokenizer.initialize()
    return tokenizer.cut
