"""The subset of Fashion-MNIST that ships."""

import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeprune.errors import DataError, UnknownName
from edgeprune.examples import fashion_mnist
from edgeprune.examples.fashion_mnist import load, make_subset, packing

FOLDER = Path(fashion_mnist.__file__).parent


@pytest.mark.parametrize(("split", "count"), [("train", 12_000), ("test", 3_000)])
def test_each_split_holds_whole_pictures_of_ten_equally_frequent_classes(split, count):
    images, labels = load(split)
    assert (images.shape, images.dtype) == ((count, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    assert np.bincount(labels).tolist() == [count // 10] * 10


def test_pictures_are_upright_clothes():
    images, labels = load("test")
    mean = {name: images[labels == number].mean(0) for number, name in enumerate(fashion_mnist.CLASSES)}
    trousers = mean["Trouser"]
    assert trousers[20, 9] > 2 * trousers[20, 14], "two legs side by side, with a gap between them"
    assert mean["Ankle boot"][22:].mean() > 2 * mean["Ankle boot"][:6].mean(), "the sole is below"


def test_pictures_of_the_two_splits_differ():
    train, test = ({picture.tobytes() for picture in load(split)[0]} for split in packing.SPLITS)
    assert len(train & test) == 0


def test_classes_are_mixed_so_that_the_first_hundred_are_a_fair_sample():
    assert (np.bincount(load("test")[1][:100], minlength=10) >= 3).all()


def test_the_data_fit_in_six_megabytes():
    assert sum((FOLDER / packing.file_name(split)).stat().st_size for split in packing.SPLITS) <= 6_000_000


def test_the_licence_of_the_data_is_beside_it():
    notice = " ".join((FOLDER / "LICENSE.data").read_text(encoding="utf-8").split())
    assert "Copyright (c) 2017 Zalando SE" in notice
    assert "Permission is hereby granted, free of charge" in notice


def test_an_unknown_split_names_the_known_ones():
    with pytest.raises(UnknownName, match="Known: test, train"):
        load("validation")


@pytest.fixture
def copy(tmp_path):
    for name in ("test.xz", packing.CHECKSUMS):
        shutil.copyfile(FOLDER / name, tmp_path / name)
    return tmp_path


def test_a_changed_byte_is_noticed(copy):
    content = bytearray((copy / "test.xz").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "test.xz").write_bytes(content)
    with pytest.raises(DataError, match=r"test\.xz was changed"):
        load("test", copy)


def test_a_cut_off_file_is_noticed(copy):
    (copy / "test.xz").write_bytes((copy / "test.xz").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test\.xz was changed"):
        load("test", copy)


@pytest.mark.parametrize("missing", ["test.xz", packing.CHECKSUMS])
def test_a_missing_file_is_named_with_the_remedy(copy, missing):
    (copy / missing).unlink()
    with pytest.raises(DataError, match=missing) as caught:
        load("test", copy)
    assert "pip install" in caught.value.next_step


def test_packing_is_reversible():
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (7, 28, 28), dtype=np.uint8)
    labels = generator.integers(0, 10, 7)
    unpacked_images, unpacked_labels = packing.unpack(packing.pack(images, labels))
    assert np.array_equal(unpacked_images, images)
    assert np.array_equal(unpacked_labels, labels)


def write_idx(folder, official, images, labels):
    header = b"".join(n.to_bytes(4, "big") for n in (2051, len(images), 28, 28))
    (folder / f"{official}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    header = b"".join(n.to_bytes(4, "big") for n in (2049, len(labels)))
    (folder / f"{official}-labels-idx1-ubyte").write_bytes(header + labels.astype(np.uint8).tobytes())


@pytest.fixture
def official(tmp_path):
    generator = np.random.default_rng(2)
    for name in ("train", "t10k"):
        images = generator.integers(0, 256, (60, 28, 28), dtype=np.uint8)
        write_idx(tmp_path, name, images, np.arange(60) % 10)
    return tmp_path


def test_the_script_draws_a_balanced_subset_of_the_official_files(official, tmp_path):
    into = tmp_path / "into"
    into.mkdir()
    make_subset.main([str(official), "--into", str(into), "--train", "40", "--test", "20"])
    for split, count in (("train", 40), ("test", 20)):
        images, labels = load(split, into)
        assert np.bincount(labels).tolist() == [count // 10] * 10
        known = {
            (image.tobytes(), label) for image, label in zip(*make_subset.read_official(official, split), strict=True)
        }
        drawn = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
        assert len(drawn) == count, "no picture is drawn twice"
        assert drawn <= known


def test_the_same_seed_draws_the_same_files_and_another_seed_others(official, tmp_path):
    def digest(seed):
        into = tmp_path / f"into-{seed}-{len(list(tmp_path.iterdir()))}"
        into.mkdir()
        make_subset.make(official, into, {"train": 30, "test": 20}, seed)
        return hashlib.sha256((into / "train.xz").read_bytes()).hexdigest()

    assert digest(0) == digest(0) != digest(1)


def test_too_small_a_source_is_refused(official, tmp_path):
    with pytest.raises(DataError, match="fewer than 7 pictures"):
        make_subset.make(official, tmp_path, {"train": 70, "test": 20}, 0)


def test_a_folder_without_the_official_files_is_named(tmp_path):
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        make_subset.read_official(tmp_path, "train")


def test_a_file_of_another_kind_is_refused(official):
    (official / "t10k-labels-idx1-ubyte").write_bytes(b"hello, world")
    with pytest.raises(DataError, match="no idx file"):
        make_subset.read_official(official, "test")
