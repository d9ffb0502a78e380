import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create import partition
from bert_paddle.pretrain.create.documents import Document


def make_document(number, sentences, part=0):
    return Document(number, part, [f"d{number}p{part}s{i} ." for i in range(sentences)], "x.txt")


def make_documents(count=40):
    return [make_document(n, 1 + n % 5) for n in range(count)]


def partition_into(tmp_path, documents, shards=3, test_shards=1, share=0.0, seed=1, name="work"):
    folder = tmp_path / name
    folder.mkdir()
    return folder, partition.partition_documents(
        folder, documents, shards, test_shards, share, seed
    )


def read_shards(folder, split, shards):
    return [
        list(partition.read_parts(partition.shard_text_path(folder, split, i)))
        for i in range(shards)
    ]


def test_every_part_is_in_one_shard_and_in_order(tmp_path):
    documents = [
        *make_documents(),
        make_document(40, 2),
        make_document(40, 3, part=1),
        make_document(41, 1),
    ]
    folder, counts = partition_into(tmp_path, iter(documents))
    shards = read_shards(folder, "training", 3)
    parts = [(d.number, d.part, d.sentences) for shard in shards for d in shard]
    assert sorted(parts) == [(d.number, d.part, d.sentences) for d in documents]
    assert all(
        [(d.number, d.part) for d in shard] == sorted((d.number, d.part) for d in shard)
        for shard in shards
    )
    training = counts["training"]
    assert (training.documents, training.sentences) == (
        42,
        sum(len(d.sentences) for d in documents),
    )
    assert training.size == sum(path.stat().st_size for path in folder.glob("training_[0-9].txt"))


def test_shards_have_similar_sizes(tmp_path):
    folder, _ = partition_into(tmp_path, make_documents(300), shards=4)
    sizes = [partition.shard_text_path(folder, "training", i).stat().st_size for i in range(4)]
    assert max(sizes) - min(sizes) < 100


def test_a_small_buffer_changes_nothing(tmp_path, monkeypatch):
    first, _ = partition_into(tmp_path, make_documents(), share=0.3)
    monkeypatch.setattr(partition, "_BUFFER_BYTES", 50)
    second, _ = partition_into(tmp_path, make_documents(), share=0.3, name="again")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_unusual_text_is_read_back_unchanged(tmp_path):
    sentences = ["a\u2028b\x85c", "> 1 2 3", "d\re", "ü"]
    folder, _ = partition_into(tmp_path, [Document(0, 0, sentences, "x")], shards=1)
    assert read_shards(folder, "training", 1)[0][0].sentences == sentences


def test_held_out_documents_are_complete_and_about_the_share(tmp_path):
    documents = [make_document(n, 1, part) for n in range(2000) for part in range(2)]
    folder, counts = partition_into(tmp_path, documents, share=0.1)
    test = {d.number for d in read_shards(folder, "test", 1)[0]}
    training = {d.number for shard in read_shards(folder, "training", 3) for d in shard}
    assert not test & training and len(test | training) == 2000
    assert 150 < len(test) == counts["test"].documents < 250
    assert {n for n in range(2000) if partition.is_held_out(n, 1, 0.1)} == test
    assert {n for n in range(2000) if partition.is_held_out(n, 2, 0.1)} != test


def test_extra_documents_are_the_first_ones_truncated(tmp_path):
    documents = [make_document(0, 500), make_document(0, 500, part=1), *make_documents(60)[1:]]
    documents.insert(3, Document(90, 0, ["x" * 100_000] * 3, "x"))
    folder, _ = partition_into(tmp_path, documents, share=0.3)
    for split in ("training", "test"):
        extra = list(partition.read_parts(partition.extra_documents_path(folder, split)))
        numbers = [document.number for document in extra]
        assert len(set(numbers)) == len(numbers) and 2 <= len(extra) <= partition.EXTRA_DOCUMENTS
        assert all(len(document.sentences) <= 200 for document in extra)
        assert all(sum(map(len, document.sentences)) < 70_000 for document in extra)


@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        ([], {}, "no text"),
        ([make_document(0, 50)], {"shards": 1}, "one document"),
        ([make_document(0, 50), make_document(0, 50, 1)], {"shards": 1}, "one document"),
        (make_documents(6), {"share": 0.05}, "--test_share"),
        (make_documents(3), {"shards": 5}, "--shards 5 is more than the 3 training documents"),
        (make_documents(40), {"share": 0.3, "test_shards": 30}, "--test_shards 30"),
    ],
)
def test_too_few_documents_are_refused(tmp_path, documents, options, message):
    _, counts = partition_into(tmp_path, documents, **options)
    with pytest.raises(DataError, match=message):
        partition.check_counts(counts, shards_given=True)


def test_enough_documents_are_accepted(tmp_path):
    folder, counts = partition_into(tmp_path, make_documents(40), share=0.3)
    partition.check_counts(counts, shards_given=True)
    assert partition.counts_from_json(partition.counts_to_json(counts)) == counts
