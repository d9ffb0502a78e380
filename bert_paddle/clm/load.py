"""A run's texts: read, divided into training and held-out ones, encoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_paddle.clm.args import ClmArgs
from bert_paddle.clm.dataset import TextDataset, encode_texts, make_dataset
from bert_paddle.clm.length_table import describe_lengths
from bert_paddle.clm.loss import unigram_perplexity
from bert_paddle.clm.texts import Texts, read_texts
from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.models.byte_level_bpe import BpeTokenizer
from bert_paddle.training import batching


@dataclass
class ClmData:
    """The encoded texts to train on and to evaluate on, None if not needed. lengths: tokens of each
    text before cutting, of the training texts or, without training, of those to evaluate."""

    train: TextDataset | None
    dev: TextDataset | None
    lengths: np.ndarray
    cut: int
    max_length: int
    # The perplexity on the dev texts of a model that knows only how often each token is.
    unigram_perplexity: float | None = None


def read_data(args: ClmArgs, tokenizer: BpeTokenizer, positions: int, log: RunLog) -> ClmData:
    """Read and encode the texts that the flags name. positions: of the model, the limit without
    --max_seq_length. Raises DataError for a malformed file, and for one without texts."""
    limit = args.max_seq_length if args.max_seq_length > 0 else positions
    train = dev = None
    if args.do_train or not args.validation_file:
        assert args.train_file
        train = read_texts(args.train_file, args, tokenizer, log)
        rows, dev_rows = batching.hold_out_rows(
            len(train), args.resolved_validation_share(), args.seed
        )
        if dev_rows is not None:
            dev = Texts([train.texts[i] for i in dev_rows], f"{train.path} (held-out texts)")
            train = Texts([train.texts[i] for i in rows], train.path)
            log.note(f"split: {len(train):,} texts to train on, {len(dev):,} to evaluate on")
        elif args.do_eval and not args.validation_file:
            raise DataError(
                f"{train.path} has one text, of which none can be held out: give "
                "--validation_file, or --validation_share 0 to train without evaluation"
            )
    if args.do_eval and args.validation_file:
        dev = read_texts(args.validation_file, args, tokenizer, log)
    train, dev = train if args.do_train else None, dev if args.do_eval else None
    shown = train or dev
    assert shown is not None
    encoded = {
        name: _encode(texts, tokenizer, limit, log)
        for name, texts in (("train", train), ("dev", dev))
        if texts is not None
    }
    _, lengths = encoded["train" if train else "dev"]
    for line in describe_lengths(shown.texts, lengths, limit):
        log.note(line)
    pad_id = tokenizer.id_of("pad") or 0
    packed = args.packing, not args.packing_across_texts
    datasets = {
        name: make_dataset(rows, pad_id, limit, *(packed if name == "train" else (False, True)))
        for name, (rows, _) in encoded.items()
    }
    for name, texts in (("train", train), ("dev", dev)):
        if texts is not None and not len(datasets[name]):
            raise DataError(f"{texts.path}: no text has a token after its first: nothing to learn")
    if args.packing and train is not None:
        log.note(_describe_packing(datasets["train"], limit))
    unigram = None
    if train is not None and dev is not None:
        unigram = _unigram_perplexity(datasets["train"], datasets["dev"], len(tokenizer), log)
    return ClmData(
        datasets.get("train"),
        datasets.get("dev"),
        lengths,
        int(np.count_nonzero(lengths > limit)),
        limit,
        unigram,
    )


def _encode(
    texts: Texts, tokenizer: BpeTokenizer, limit: int, log: RunLog
) -> tuple[list[np.ndarray], np.ndarray]:
    with log.row_progress(f"encoding {Path(texts.path).name}", len(texts)) as show_rows:
        return encode_texts(texts.texts, tokenizer, limit, show_rows)


def _unigram_perplexity(
    train: TextDataset, dev: TextDataset, vocab_size: int, log: RunLog
) -> float:
    train_tokens, dev_tokens = (
        np.concatenate([text[1:] for text in dataset.texts]) for dataset in (train, dev)
    )
    perplexity = unigram_perplexity(train_tokens, dev_tokens, vocab_size)
    log.note(
        "perplexity of the texts to evaluate on by the frequencies of tokens alone: "
        f"{perplexity:.1f}"
    )
    return perplexity


def _describe_packing(dataset: TextDataset, limit: int) -> str:
    tokens = int(dataset.lengths.sum())
    return (
        f"packing: {len(dataset.texts):,} texts in {len(dataset):,} rows of up to {limit} tokens, "
        f"{tokens / (len(dataset) * limit):.1%} full"
    )
