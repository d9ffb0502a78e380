import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create import partition
from bert_paddle.pretrain.create.documents import Document


def document(number, sentences, part=0):
    return Document(number, part, [f"d{number}p{part}s{i} ." for i in range(sentences)], "x.txt")


def some(count=40):
    return [document(n, 1 + n % 5) for n in range(count)]


def filled(tmp_path, documents, shards=3, test_shards=1, share=0.0, seed=1, name="spool"):
    folder = tmp_path / name
    folder.mkdir()
    return folder, partition.partition_documents(
        folder, documents, shards, test_shards, share, seed
    )


def read(folder, split, shards):
    return [
        list(partition.read_parts(partition.shard_path(folder, split, i))) for i in range(shards)
    ]


def test_every_part_is_in_one_shard_and_in_order(tmp_path):
    documents = [*some(), document(40, 2), document(40, 3, part=1), document(41, 1)]
    folder, counts = filled(tmp_path, iter(documents))
    shards = read(folder, "training", 3)
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


def test_shards_are_of_like_size(tmp_path):
    folder, _ = filled(tmp_path, some(300), shards=4)
    sizes = [partition.shard_path(folder, "training", i).stat().st_size for i in range(4)]
    assert max(sizes) - min(sizes) < 100


def test_little_held_back_changes_nothing(tmp_path, monkeypatch):
    first, _ = filled(tmp_path, some(), share=0.3)
    monkeypatch.setattr(partition, "_BUFFERED", 50)
    second, _ = filled(tmp_path, some(), share=0.3, name="again")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    assert all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_odd_text_comes_back(tmp_path):
    sentences = ["a\u2028b\x85c", "> 1 2 3", "d\re", "ü"]
    folder, _ = filled(tmp_path, [Document(0, 0, sentences, "x")], shards=1)
    assert read(folder, "training", 1)[0][0].sentences == sentences


def test_held_out_documents_are_whole_and_about_the_share(tmp_path):
    documents = [document(n, 1, part) for n in range(2000) for part in range(2)]
    folder, counts = filled(tmp_path, documents, share=0.1)
    test = {d.number for d in read(folder, "test", 1)[0]}
    training = {d.number for shard in read(folder, "training", 3) for d in shard}
    assert not test & training and len(test | training) == 2000
    assert 150 < len(test) == counts["test"].documents < 250
    assert {n for n in range(2000) if partition.in_test(n, 1, 0.1)} == test
    assert {n for n in range(2000) if partition.in_test(n, 2, 0.1)} != test


def test_guests_are_the_first_documents_cut_short(tmp_path):
    documents = [document(0, 500), document(0, 500, part=1), *some(60)[1:]]
    documents.insert(3, Document(90, 0, ["x" * 100_000] * 3, "x"))
    folder, _ = filled(tmp_path, documents, share=0.3)
    for split in ("training", "test"):
        guests = list(partition.read_parts(partition.guests_path(folder, split)))
        numbers = [guest.number for guest in guests]
        assert len(set(numbers)) == len(numbers) and 2 <= len(guests) <= partition.GUESTS
        assert all(len(guest.sentences) <= 200 for guest in guests)
        assert all(sum(map(len, guest.sentences)) < 70_000 for guest in guests)


@pytest.mark.parametrize(
    ("documents", "options", "says"),
    [
        ([], {}, "no text"),
        ([document(0, 50)], {"shards": 1}, "one document"),
        ([document(0, 50), document(0, 50, 1)], {"shards": 1}, "one document"),
        (some(6), {"share": 0.05}, "--test_share"),
        (some(3), {"shards": 5}, "--shards 5 is more than the 3 documents"),
        (some(40), {"share": 0.3, "test_shards": 30}, "--test_shards 30"),
    ],
)
def test_too_little_is_refused(tmp_path, documents, options, says):
    _, counts = filled(tmp_path, documents, **options)
    with pytest.raises(DataError, match=says):
        partition.check(counts, shards_given=True)


def test_enough_is_not_refused(tmp_path):
    folder, counts = filled(tmp_path, some(40), share=0.3)
    partition.check(counts, shards_given=True)
    assert partition.from_json(partition.as_json(counts)) == counts
