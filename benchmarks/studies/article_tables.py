"""Rows of the article's experiment -> docs/studies/article-*.md: accuracy, size, run time, energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from measured import Row, energy, latency, made

TITLES = {
    "mnist": "The article's experiment: a CNN on MNIST",
    "vgg16": "VGG16 on Fashion-MNIST, by threshold, by layer and by structure",
}
INTROS = {
    "mnist": """EdgePrune began from an article on multi-objective pruning: one CNN on MNIST, dense and pruned by an
absolute threshold, by structure, and by both in turn, judged by accuracy, size, run time and energy together. This is
that experiment with EdgePrune: 32 and 64 channels of 3x3, max pooling, a hidden layer of 304, batch norm and dropout;
60,000 images, six epochs. Its published figures stand beside ours; network and machine are not the same, so compare the
shares. Training after a prune sees images moved by up to two pixels; the dense network was trained without that, and
would gain from it, too.
""",
    "vgg16": """VGG16 with batch norm, its thirteen convolutions of full width and a classifier of 512, on 6,000 images
of Fashion-MNIST at 28x28 (without the last pooling, which such small images do not allow). Trained for three epochs
here: what counts is the difference between the rows, not the accuracy itself.
""",
}
PUBLISHED: Mapping[str, Mapping[str, tuple[float, float, float, float]]] = {
    "mnist": {
        "dense": (99.2, 11.3, 3.5, 560),
        "absolute threshold": (98.5, 7.8, 2.7, 410),
        "structure": (97.8, 6.5, 2.4, 340),
        "hybrid": (98.0, 6.9, 2.5, 360),
    },
    "vgg16": {},
}
"""Accuracy in %, size in MB, run time in s, energy in J."""


def document(name: str, rows: Sequence[Row], recipes: Sequence[str]) -> str:
    """Return the whole document.

    Args:
        name: A key of `TITLES`.
        rows: The dense network first.
        recipes: How each other row was made.

    Returns:
        Markdown.
    """
    command = (
        f"`make article-{name}` trains, prunes, measures and writes this file. "
        "onnxruntime, fp32, one thread, batch 1.\n"
    )
    how = "".join(f"- {recipe}\n" for recipe in recipes)
    return "".join([f"# {TITLES[name]}\n\n", INTROS[name], "\n", command, made(), "\n", how, _tables(name, rows)])


def _tables(name: str, rows: Sequence[Row]) -> str:
    published = PUBLISHED[name]
    dense = rows[0]
    p50 = dense.measurement.latency.p50_s
    return "".join(
        [
            _table("Accuracy", ("accuracy", "difference"), rows, published, 0, "%", lambda row: (
                f"{100 * row.variant.accuracy:.2f} %",
                f"{100 * (row.variant.accuracy - dense.variant.accuracy):+.2f} pt",
            )),
            _table("Size", ("parameters", "ONNX", "after zlib", "less"), rows, published, 1, "MB", lambda row: (
                f"{row.params:,}", f"{row.size_bytes / 1e6:.2f} MB", f"{row.packed_bytes / 1e6:.2f} MB",
                f"{100 * (1 - row.size_bytes / dense.size_bytes):.1f} %",
            )),
            _table("Run time", ("MACs", "p50 [95 %]", "less"), rows, published, 2, "s", lambda row: (
                f"{row.macs:,}", latency(row), f"{100 * (1 - row.measurement.latency.p50_s / p50):.1f} %",
            )),
            _table("Energy", ("per inference",), rows, published, 3, "J", lambda row: (energy(row),)),
        ]
    )  # fmt: skip


def _table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    published: Mapping[str, tuple[float, ...]],
    which: int,
    unit: str,
    cells: Callable[[Row], Sequence[str]],
) -> str:
    heads = ["method", *columns, *(["published"] if published else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        name = row.variant.name
        known = published.get(name)
        last = [f"{known[which]:g} {unit}" if known else ""] if published else []
        lines.append("| " + " | ".join([name, *cells(row), *last]) + " |")
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n"
