"""One shard from its text: a job that any process on any machine does alike. No paddle.

Text is read in blocks; of each block's sentences the word pieces are made once, and then, as often
as dupe_factor says, pairs. All pairs of a block are shuffled, laid out, masked and written.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np

from bert_paddle.common.errors import DataError, RunError
from bert_paddle.models import tokenizer
from bert_paddle.pretrain.create import masking, partition, sentence_pairs
from bert_paddle.pretrain.create.documents import Document
from bert_paddle.pretrain.create.masking import Masking, Pool
from bert_paddle.pretrain.create.sentence_pairs import Labels, Text
from bert_paddle.pretrain.create.shard_writer import ShardFile
from bert_paddle.pretrain.create.wordpiece import WordPieceEncoder, ordinary_ids
from bert_paddle.pretrain.data import schema

BLOCK_CHARS, BLOCK_SENTENCES = 4_000_000, 40_000


@dataclass(frozen=True)
class Recipe:
    """How rows are made; the names are those of the flags."""

    max_seq_length: int
    max_predictions_per_seq: int
    masked_lm_prob: float
    whole_word_mask: bool
    segmenter: str
    dupe_factor: int
    short_seq_prob: float
    random_seed: int


@dataclass(frozen=True)
class ShardJob:
    """A shard to make. output: its file. folder: the spool, with the vocabulary in it; rules: what
    tells that vocabulary from others, for a process that serves several runs."""

    output: Path
    folder: Path
    split: str
    index: int
    rules: str
    recipe: Recipe


@dataclass
class ShardCounts:
    """What is in a shard. size: bytes of the file; sentences: of its text; tokens: real ones, with
    [CLS] and [SEP]; masked, random, kept: of the predictions."""

    name: str
    size: int = 0
    rows: int = 0
    sentences: int = 0
    tokens: int = 0
    random_next: int = 0
    predictions: int = 0
    masked: int = 0
    random: int = 0
    kept: int = 0


def make_shard(job: ShardJob) -> ShardCounts:
    """Make the shard of a job; the file appears whole or not at all.

    Raises DataError for a text of which no rows can be made, RunError when the disk refuses.
    """
    if not job.folder.is_dir():
        raise RunError(
            f"{job.folder}: not there for this worker; --output_dir has to be on a disk that all "
            "workers of the cluster share, under the same path"
        )
    out = None
    try:
        recipe = job.recipe
        out = ShardFile(job.output, recipe.max_seq_length, recipe.max_predictions_per_seq)
        counts = ShardCounts(job.output.name)
        _fill(job, out, counts)
        counts.rows = out.rows
        counts.size = out.close()
        return counts
    except (OSError, RuntimeError) as error:  # h5py has both for a full disk
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise RunError(
            f"{job.output}: cannot be made ({reason}); see to it and run the same command again: "
            "whole shards are kept"
        ) from error
    finally:
        if out is not None:
            with suppress(OSError):
                out.discard()


def _fill(job: ShardJob, out: ShardFile, counts: ShardCounts) -> None:
    """All rows of a shard, block by block."""
    recipe = job.recipe
    words, special, how = _tools(job.folder, job.rules, recipe)
    seed = [recipe.random_seed, int(job.split == schema.TEST), job.index]
    coins, rng = Random(repr(seed)), np.random.Generator(np.random.SFC64(seed))
    labels = Labels(coins)
    guests = list(partition.read_parts(partition.guests_path(job.folder, job.split)))
    for block in blocks(
        partition.read_parts(partition.shard_path(job.folder, job.split, job.index))
    ):
        counts.sentences += sum(len(document.sentences) for document in block)
        text, pool = _prepared(block, guests, words, special)
        if not text.own:
            continue
        if len({number for _, _, number in text.documents}) < 2:
            raise DataError(
                f"{job.output.name}: all but one of its documents have no word pieces (nothing but "
                "control characters?): give more text"
            )
        made = [
            sentence_pairs.make_pairs(
                text, recipe.max_seq_length, recipe.short_seq_prob, coins, labels
            )
            for _ in range(recipe.dupe_factor)
        ]
        every = sentence_pairs.truncate(np.concatenate(made), recipe.max_seq_length, rng)
        every = every[rng.permutation(len(every))]
        begin = 0
        while begin < len(every):
            part = every[begin : begin + out.room]
            begin += len(part)
            rows, where = masking.lay_out(part, pool, recipe.max_seq_length)
            masked, random, kept = masking.mask(rows, where, pool, how, rng)
            out.add(rows)
            counts.tokens += int(rows["input_mask"].sum(dtype=np.int64))
            counts.random_next += int(rows["next_sentence_labels"].sum(dtype=np.int64))
            counts.predictions += masked + random + kept
            counts.masked += masked
            counts.random += random
            counts.kept += kept
    if not out.rows:
        raise DataError(
            f"{job.output.name}: its text has no word pieces (nothing but control characters?): "
            "give fewer --shards, or more text"
        )


def blocks(parts: Iterator[Document]) -> Iterator[list[Document]]:
    """Parts of documents gathered until they hold BLOCK_CHARS or BLOCK_SENTENCES; parts that follow
    each other in a document become one."""
    held: list[Document] = []
    chars = sentences = 0
    last = (-1, -1)
    for part in parts:
        if held and (part.number, part.part) == (last[0], last[1] + 1):
            held[-1].sentences.extend(part.sentences)
        else:
            held.append(Document(part.number, part.part, list(part.sentences), part.source))
        last = part.number, part.part
        chars += sum(map(len, part.sentences))
        sentences += len(part.sentences)
        if chars >= BLOCK_CHARS or sentences >= BLOCK_SENTENCES:
            yield held
            held, chars, sentences = [], 0, 0
    if held:
        yield held


def _prepared(
    block: Sequence[Document],
    guests: Sequence[Document],
    words: WordPieceEncoder,
    special: tuple[int, int, int],
) -> tuple[Text, Pool]:
    """A block as word pieces, with guests behind its own documents where these are few."""
    numbers = {document.number for document in block}
    few = len(numbers) < partition.GUESTS
    lenders = [guest for guest in guests if few and guest.number not in numbers]
    everyone = [*block, *lenders]
    pieces = words.encode([sentence for document in everyone for sentence in document.sentences])
    filled = np.diff(pieces.offsets) > 0
    offsets = [*pieces.offsets[:-1][filled].tolist(), len(pieces.ids)]
    ends = np.cumsum([len(document.sentences) for document in everyone])
    upto = np.append(0, np.cumsum(filled))[np.append(0, ends)]
    counts = np.diff(upto).tolist()
    documents = sentence_pairs.documents_of([document.number for document in everyone], counts)
    own = sum(count > 0 for count in counts[: len(block)])
    return Text(offsets, documents, own), Pool.of(pieces.ids, pieces.starts, special)


@lru_cache(maxsize=1)
def _tools(
    folder: Path, rules: str, recipe: Recipe
) -> tuple[WordPieceEncoder, tuple[int, int, int], Masking]:
    """What needs the vocabulary; kept from shard to shard, with the words known by then."""
    loaded = tokenizer.load(folder)
    how = Masking(
        recipe.max_predictions_per_seq,
        recipe.masked_lm_prob,
        recipe.whole_word_mask,
        loaded.mask_id,
        ordinary_ids(loaded.vocab),
    )
    words = WordPieceEncoder(loaded, recipe.segmenter)
    return words, (loaded.cls_id, loaded.sep_id, loaded.pad_id), how
