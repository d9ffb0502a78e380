"""Create one shard from its text. Does not import paddle.

The result depends on the job only, not on the process or machine that runs it. Text is read in
blocks; the sentences of a block are tokenized once, and sentence pairs are made from them
dupe_factor times. All pairs of a block are shuffled, built into rows, masked and written.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np

from bert_paddle.common.errors import DataError, RunError
from bert_paddle.models.tokenizer import load_tokenizer
from bert_paddle.pretrain.create import partition, sentence_pairs
from bert_paddle.pretrain.create.added_token_encoder import make_encoder
from bert_paddle.pretrain.create.documents import Document
from bert_paddle.pretrain.create.recipe import Recipe, ShardCounts
from bert_paddle.pretrain.create.row_sampler import RowSampler
from bert_paddle.pretrain.create.rows import TokenPool
from bert_paddle.pretrain.create.sentence_pairs import TokenizedDocuments
from bert_paddle.pretrain.create.shard_writer import ShardWriter
from bert_paddle.pretrain.create.wordpiece import WordPieceEncoder
from bert_paddle.pretrain.data import masking, schema
from bert_paddle.pretrain.data.masking import MaskingConfig

BLOCK_CHARS, BLOCK_SENTENCES = 4_000_000, 40_000  # a block of text ends when either is reached


@dataclass(frozen=True)
class ShardJob:
    """A shard to create. path: its file. work_dir: the folder with its text and the vocabulary.
    tokenizer_cache_key: identifies the vocabulary; a Dask worker may create shards for several
    vocabularies."""

    path: Path
    work_dir: Path
    split: str
    index: int
    tokenizer_cache_key: str
    recipe: Recipe


def create_shard(job: ShardJob) -> ShardCounts:
    """Create the shard of a job; the file appears complete or not at all.

    Raises DataError for a text that yields no rows, RunError when the file cannot be written.
    """
    if not job.work_dir.is_dir():
        raise RunError(
            f"{job.work_dir} does not exist on this worker; --output_dir must be on a disk that "
            "all workers of the cluster share, under the same path"
        )
    writer = None
    try:
        recipe = job.recipe
        shapes = {
            key: schema.row_shape(key, recipe.max_seq_length, recipe.max_predictions_per_seq)
            for key in recipe.keys
        }
        writer = ShardWriter(job.path, shapes)
        counts = ShardCounts(job.path.name)
        _write_rows(job, writer, counts)
        counts.rows = writer.rows
        counts.size = writer.close()
        return counts
    except (OSError, RuntimeError) as error:  # h5py raises one or the other when the disk is full
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise RunError(
            f"{job.path}: cannot be written ({reason}); fix that and run the same command again: "
            "complete shards are kept"
        ) from error
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.remove_temporary_files()


def _write_rows(job: ShardJob, writer: ShardWriter, counts: ShardCounts) -> None:
    """Write all rows of a shard, block by block."""
    recipe = job.recipe
    encoder, special_ids, config = _load_encoder(job.work_dir, job.tokenizer_cache_key, recipe)
    seed = [recipe.random_seed, int(job.split == schema.TEST), job.index]
    # repr: Random accepts no list as a seed.
    sampler = RowSampler(
        recipe, Random(repr(seed)), np.random.Generator(np.random.SFC64(seed)), config
    )
    encoder.reset_unknown()
    extra = list(partition.read_parts(partition.extra_documents_path(job.work_dir, job.split)))
    parts = partition.read_parts(partition.shard_text_path(job.work_dir, job.split, job.index))
    for block in group_into_blocks(parts):
        counts.sentences += sum(len(document.sentences) for document in block)
        text, pool = _encode_block(block, extra if recipe.nsp else (), encoder, special_ids)
        if not text.num_primary:
            continue
        if recipe.nsp and len({number for _, _, number in text.documents}) < 2:
            raise DataError(
                f"{job.path.name}: all but one of its documents have no word pieces (only "
                "control characters?): give more text"
            )
        own_ids = pool.ids[: text.offsets[text.documents[text.num_primary - 1][1]]]
        counts.pieces += len(own_ids)
        counts.unknown += int((own_ids == encoder.unk_id).sum())
        for chunk in sampler.make_rows(text, pool, writer, counts):
            writer.add(chunk)
    counts.unknown_words = encoder.unknown.to_json()
    if not writer.rows:
        raise DataError(
            f"{job.path.name}: its text has no word pieces (only control characters?): "
            "give fewer --shards, or more text"
        )


def group_into_blocks(parts: Iterator[Document]) -> Iterator[list[Document]]:
    """Yield blocks of at least BLOCK_CHARS or BLOCK_SENTENCES; in a block, consecutive parts of a
    document are merged."""
    block: list[Document] = []
    chars = sentences = 0
    previous = (-1, -1)
    for part in parts:
        if block and (part.number, part.part) == (previous[0], previous[1] + 1):
            block[-1].sentences.extend(part.sentences)
        else:
            block.append(Document(part.number, part.part, list(part.sentences), part.source))
        previous = part.number, part.part
        chars += sum(map(len, part.sentences))
        sentences += len(part.sentences)
        if chars >= BLOCK_CHARS or sentences >= BLOCK_SENTENCES:
            yield block
            block, chars, sentences = [], 0, 0
    if block:
        yield block


def _encode_block(
    block: Sequence[Document],
    extra: Sequence[Document],
    encoder: WordPieceEncoder,
    special_ids: tuple[int, int, int],
) -> tuple[TokenizedDocuments, TokenPool]:
    """Tokenize a block. Returns its documents without empty sentences, followed by the extra
    documents if the block has fewer than EXTRA_DOCUMENTS, and the pool of their word pieces."""
    numbers = {document.number for document in block}
    too_few = len(numbers) < partition.EXTRA_DOCUMENTS
    appended = [document for document in extra if too_few and document.number not in numbers]
    documents = [*block, *appended]
    encoded = encoder.encode(
        [sentence for document in documents for sentence in document.sentences]
    )
    nonempty = np.diff(encoded.offsets) > 0  # sentences with word pieces
    offsets = [*encoded.offsets[:-1][nonempty].tolist(), len(encoded.ids)]
    ends = np.cumsum([len(document.sentences) for document in documents])
    # At each document boundary, the number of nonempty sentences before it.
    nonempty_before = np.append(0, np.cumsum(nonempty))[np.append(0, ends)]
    counts = np.diff(nonempty_before).tolist()
    ranges = sentence_pairs.document_ranges([document.number for document in documents], counts)
    num_primary = sum(count > 0 for count in counts[: len(block)])
    pool = TokenPool.with_special_tokens(encoded.ids, encoded.starts, special_ids)
    return TokenizedDocuments(offsets, ranges, num_primary), pool


@lru_cache(maxsize=1)
def _load_encoder(
    work_dir: Path, tokenizer_cache_key: str, recipe: Recipe
) -> tuple[WordPieceEncoder, tuple[int, int, int], MaskingConfig]:
    """The encoder, the ids of [CLS], [SEP] and [PAD], and the masking configuration. Cached, so
    that the next shard can use the words in the encoder's cache."""
    tokenizer = load_tokenizer(work_dir)
    config = MaskingConfig(
        recipe.max_predictions_per_seq,
        recipe.masked_lm_prob,
        recipe.whole_word_mask,
        tokenizer.mask_id,
        masking.replacement_ids(tokenizer.vocab),
    )
    encoder = make_encoder(tokenizer, recipe.segmenter)
    return encoder, (tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id), config
