"""Objects that came packed: store.unpack makes the model file of one, in steps, as if that file were coming in."""

from typing import Any, Dict, Generator

from edgeprune_agent.folders import Root
from edgeprune_agent.store import Store, object_path
from edgeprune_agent.wire import AgentError
from edgeprune_agent.wire.packed_model import MAX_PACKED_BYTES, PackedError, pieces, read_head

Steps = Generator[None, None, Dict[str, Any]]


def unpack(root: Root, store: Store, sha: str, into: str) -> Steps:
    """Make the model file of a packed one; done once, a repetition finds it there.

    Args:
        root: The agent's.
        store: Its objects.
        sha: Digest of the packed file, which is stored.
        into: What the model file must hash to.

    Yields:
        Nothing, after each piece.

    Returns:
        The answer of `store.unpack`.

    Raises:
        AgentError: E_NOTFOUND: there is no such object. E_LIMIT, E_QUOTA, E_NOSPC: it is too large. E_ARG: it is no
            packed model, or one of another file. E_HASH: what came out is not what the name says, and is gone.
    """
    if store.stat(into, 0)["state"] == "complete":
        return {}
    packed = _read(root, sha)
    try:
        head = read_head(packed)
        if head.sha != into:
            raise AgentError("E_ARG", "The packed file holds another model.")
        upload = yield from store.open(into, head.size)
        at = 0
        for piece in pieces(packed):
            upload.add(upload.received, piece[max(0, upload.received - at) :])
            at += len(piece)
            yield
        store.commit(into)
    except PackedError as error:
        store.discard(into)
        raise AgentError("E_ARG", "The stored file is {}.".format(error)) from error
    finally:
        store.abandon(into)
    return {}


def _read(root: Root, sha: str) -> bytes:
    try:
        with open(object_path(root.path, sha), "rb") as file:
            packed = file.read(MAX_PACKED_BYTES + 1)
    except FileNotFoundError:
        raise AgentError("E_NOTFOUND", "The store has no file {}.".format(sha)) from None
    if len(packed) > MAX_PACKED_BYTES:
        raise AgentError("E_LIMIT", "A packed model has at most {} bytes.".format(MAX_PACKED_BYTES))
    return packed
