"""Packed bodies: what comes out is what went in, within limits, and the shortest way is found by trying."""

import contextlib
import random
import struct
import zlib

import pytest
from edgeprune_agent import wire
from edgeprune_agent.wire import WireError
from edgeprune_agent.wire.packing import best_codec, pack, unpack
from hypothesis import given
from hypothesis import strategies as st

RNG = random.Random(4)
DENSE = struct.pack("<16000f", *(RNG.gauss(0.0, 0.05) for _ in range(16000)))
SPARSE = struct.pack("<16000f", *(RNG.gauss(0.0, 0.05) if RNG.random() < 0.1 else 0.0 for _ in range(16000)))
NOISE = RNG.randbytes(64_000)


@given(st.binary(max_size=3000), st.sampled_from([wire.ZLIB, wire.SHUFFLED]))
def test_what_was_packed_comes_back(content, codec):
    assert unpack(pack(content, codec), codec) == content


@given(st.integers(0, 2**60), st.binary(max_size=500), st.sampled_from([wire.RAW, wire.ZLIB, wire.SHUFFLED]))
def test_a_chunk_is_read_whatever_its_codec(offset, data, codec):
    assert wire.read_chunk(wire.chunk_message(3, offset, data, codec)) == (offset, data)


@given(st.binary(max_size=300), st.sampled_from([wire.ZLIB, wire.SHUFFLED]))
def test_what_does_not_unpack_is_a_wire_error_and_nothing_else(body, codec):
    with contextlib.suppress(WireError):
        unpack(body, codec)


@pytest.mark.parametrize("codec", [wire.ZLIB, wire.SHUFFLED])
def test_a_body_that_unpacks_to_gigabytes_is_refused(codec):
    with pytest.raises(WireError, match="over the limit"):
        unpack(zlib.compress(bytes(50_000_000)), codec)


@pytest.mark.parametrize(("content", "codec"), [(NOISE, wire.RAW), (DENSE, wire.SHUFFLED), (SPARSE, wire.ZLIB)])
def test_the_codec_follows_from_the_content(content, codec):
    assert best_codec([content[:20_000], content[20_000:40_000], content[-20_000:]])[0] == codec


def test_a_pruned_model_takes_a_quarter_of_the_line():
    assert len(pack(SPARSE, wire.ZLIB)) < len(SPARSE) / 4


def test_the_share_that_packing_leaves_is_that_of_the_samples():
    codec, share = best_codec([SPARSE])
    assert share == len(pack(SPARSE, codec)) / len(SPARSE)


def test_nothing_at_all_is_not_packed():
    assert best_codec([b"", b""]) == (wire.RAW, 1.0)
