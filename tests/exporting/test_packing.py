"""Packed models: what goes in comes out to the bit, and nothing else ever comes out."""

import hashlib
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from edgeprune_agent.wire import packed_model
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.errors import ArtifactError
from edgeprune.exporting import load_artifact, predict
from edgeprune.exporting.packing import pack, pack_artifact, unpack
from edgeprune.exporting.weight_bytes import WeightBytes, weights_of

sys.path.append(str(Path(__file__).parents[1] / "measuring"))  # for board_models, which several folders share
import board_models

DATA = Path(__file__).parents[1] / "data"

WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32}
GOLDEN = bytes.fromhex(
    "45504b31e7952e65d29f3a8a8adcb6ae15d293d43c4bdfcd1413b3194cfd7b9d1bae14900000000000000fae000000310000000a626060e0"
    "6260607ec1c0c0c0cec2ec9a929e1a50549a97aac00001f60c0c0d76407a3f10b340c518181952f352b800030062feff7f17c37f2dc00062"
    "646664020c00"
)


def sparse(seed, count, share, kinds, width):
    """Mostly one value, and among it some of a few others."""
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 256**width, kinds + 1, dtype=np.uint64).astype(WORDS[width])
    chosen = np.where(generator.random(count) < share, generator.integers(0, kinds + 1, count), 0)
    return values[chosen].tobytes()


tensors = st.builds(
    sparse,
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 700),
    share=st.sampled_from([0.0, 0.002, 0.1, 0.9, 1.0]),
    kinds=st.integers(0, 255),
    width=st.shared(st.sampled_from([1, 2, 4]), key="width"),
)


class TestEveryFile:
    @given(st.lists(st.tuples(st.binary(max_size=40), tensors)), st.binary(max_size=40), st.data())
    @settings(max_examples=50)
    def test_comes_out_as_it_went_in(self, parts, rest, data):
        width = data.draw(st.shared(st.sampled_from([1, 2, 4]), key="width"))
        content, places = b"", []
        for literal, tensor in parts:
            content += literal
            places.append(WeightBytes(len(content), len(tensor), width))
            content += tensor
        content += rest
        packed = pack(content, places)
        assert unpack(packed) == content
        head = packed_model.read_head(packed)
        assert head == (hashlib.sha256(content).hexdigest(), len(content))

    def test_comes_out_in_pieces_however_long_its_runs_are(self):
        content = bytes(1 << 20) + b"\1" + bytes(1 << 20)
        packed = pack(content, [WeightBytes(0, len(content), 1)])
        pieces = list(packed_model.pieces(packed))
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 256 * 1024

    def test_of_few_values_is_near_its_entropy(self):
        content, share, kinds = sparse(1, 200_000, 0.06, 16, 4), 0.06 * 16 / 17, 16
        gaps = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        entropy_bytes = 200_000 * (gaps + share * np.log2(kinds)) / 8
        assert len(pack(content, [WeightBytes(0, len(content), 4)])) < 1.04 * entropy_bytes + 200

    def test_with_tensors_of_too_many_values_is_packed_as_plain_bytes(self):
        content = np.arange(1000, dtype=np.uint32).tobytes()
        assert unpack(pack(content, [WeightBytes(0, len(content), 4)])) == content


class TestTheFormat:
    def test_of_a_file_that_was_packed_once_is_read_for_ever(self):
        tensor = np.zeros(1000, np.float32)
        tensor[[3, 700, 701, 999]] = [0.5, -0.5, 0.5, 0.25]
        assert unpack(GOLDEN) == b"EdgePrune " + tensor.tobytes() + b"end\n"


def refused():
    return pytest.raises(ArtifactError, match=r"packed|SHA-256")


class TestAnAttacker:
    packed = pack(b"head" + sparse(3, 5000, 0.1, 9, 4) + b"tail", [WeightBytes(4, 20000, 4)])

    def gets_the_same_file_or_none(self, changed):
        try:
            found = unpack(bytes(changed))
        except ArtifactError:
            return
        assert found == unpack(self.packed)

    @given(st.integers(0, len(packed) - 1))
    @settings(max_examples=50)
    def test_who_cuts_the_file_gets_the_same_file_or_none(self, length):
        # The last bits of a stream only say that it ends, and the reader knows.
        self.gets_the_same_file_or_none(self.packed[:length])

    @given(st.integers(0, 8 * len(packed) - 1))
    @settings(max_examples=100)
    def test_who_flips_a_bit_gets_the_same_file_or_none(self, bit):
        changed = bytearray(self.packed)
        changed[bit // 8] ^= 1 << bit % 8
        self.gets_the_same_file_or_none(changed)

    @given(st.binary(max_size=300))
    def test_who_writes_the_streams_gets_no_other_error(self, noise):
        with refused():
            unpack(packed_model.HEAD.pack(packed_model.MAGIC, bytes(32), 1 << 20, len(noise) // 2, 40) + noise)

    @pytest.mark.parametrize("size", [0, 20007, 20009, (1 << 64) - 1])
    def test_who_announces_another_size_is_refused(self, size):
        with refused():
            unpack(self.packed[:36] + size.to_bytes(8, "big") + self.packed[44:])

    def test_who_names_another_digest_is_refused(self):
        with refused():
            unpack(self.packed[:4] + bytes(32) + self.packed[36:])

    @pytest.mark.parametrize("section", [(1 << 32) - 1, 0])
    def test_who_packs_a_bomb_fills_no_memory(self, section):
        # 4 GiB of literal bytes, or a tensor of 4 G elements of four bytes, out of 16 KiB.
        zeros = bytes(16 << 20)
        plain = packed_model.SECTION.pack(section, 0 if section else (1 << 32) - 1, 0, 4, 255) + zeros
        coder = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = coder.compress(plain) + coder.flush()
        del zeros, plain
        made = packed_model.pieces(packed_model.HEAD.pack(b"EPK1", bytes(32), 1 << 63, len(bomb), 0) + bomb)
        tracemalloc.start()
        try:
            for _ in range(100):
                next(made)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()

    @given(st.sampled_from([0, 3, 8, 255]))
    def test_who_invents_a_width_is_refused(self, width):
        coder = zlib.compressobj(9, zlib.DEFLATED, -15)
        plain = coder.compress(packed_model.SECTION.pack(0, 100, 0, width, 0) + bytes(300)) + coder.flush()
        with refused():
            unpack(packed_model.HEAD.pack(b"EPK1", bytes(32), 100, len(plain), 0) + plain)


class TestModelFiles:
    @pytest.fixture(params=["linear.onnx", "three_convolutions.tflite"])
    def artifact(self, request, tmp_path):
        if request.param.endswith(".tflite"):
            return load_artifact(DATA / request.param)
        return load_artifact(board_models.linear(tmp_path / request.param, size=64))

    def test_packed_and_unpacked_are_the_same_and_give_the_same_outputs(self, artifact, tmp_path):
        packed = pack_artifact(artifact, tmp_path / "model.packed")
        path = tmp_path / f"again.{artifact.format}"
        path.write_bytes(unpack(packed.path.read_bytes()))
        again = load_artifact(path)
        assert (again.sha256, again.size_bytes) == (artifact.sha256, packed.unpacked_bytes)
        assert packed.size_bytes == packed.path.stat().st_size
        shape = [4 if size == -1 else size for size in artifact.inputs[0].shape]
        inputs = [np.random.default_rng(0).standard_normal(shape, np.float32)]
        for ours, theirs in zip(predict(again, inputs), predict(artifact, inputs), strict=True):
            assert np.array_equal(ours, theirs)

    def test_of_few_values_shrink(self, tmp_path):
        # 64 x 64 weights of seven values: less than three bits each, in place of 32.
        artifact = load_artifact(board_models.linear(tmp_path / "linear.onnx", size=64))
        assert pack_artifact(artifact).size_bytes < 64 * 64 * 3 / 8 + 300

    def test_have_their_weights_found(self, artifact):
        content = artifact.path.read_bytes()
        places = weights_of(content, artifact.format)
        ends = [place.start + place.length for place in places]
        assert all(end <= place.start for end, place in zip(ends, places[1:], strict=False))
        assert ends[-1] <= len(content)
        if artifact.format == "onnx":
            (place,) = places
            assert content[place.start : ends[0]] == board_models.weights(64).tobytes()
