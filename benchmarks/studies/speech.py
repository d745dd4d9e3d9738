"""Ten spoken commands, said by espeak-ng in many voices, as log-mel features: a stand-in for Speech Commands.

Made, not recorded: it shows what pruning does to a small recurrent network, not how well one hears people.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from data import Data
from numpy.typing import NDArray

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029")
VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "adam", "andy", "anika", "antonio",
    "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "gustave", "iven", "iven2", "iven3",
    "jacky", "john", "linda", "marcelo", "max", "michael", "mike", "norbert", "pablo", "paul", "quincy", "steph",
)  # fmt: skip
TEST_VOICES = ("f5", "Alex", "Alicia", "Andrea", "Denis", "Diogo", "Lee", "Mario", "rob", "travis", "victor", "zac")
RATE_HZ, WINDOW, HOP, MELS = 22_050, 551, 441, 20
SAMPLES = RATE_HZ
TAKES = 2


def commands(cache: Path) -> Data:
    """Say all commands, or read them from where they were kept.

    Args:
        cache: A file that is made if it is not there.

    Returns:
        Features of shape (n, frames, mels): training voices, and test voices that no training heard.
    """
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        (x, y), (test_x, test_y) = _said(VOICES, 0), _said(TEST_VOICES, 1)
        np.savez(cache, x=x, y=y, test_x=test_x, test_y=test_y)
    with np.load(cache) as kept:
        x, y, test_x, test_y = (torch.from_numpy(kept[name]) for name in ("x", "y", "test_x", "test_y"))
    mean, spread = x.mean((0, 1)), x.std((0, 1))
    return Data((x - mean) / spread, y, (test_x - mean) / spread, test_y)


def _said(voices: Sequence[str], seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    choice, noise = random.Random(seed), np.random.default_rng(seed)
    places = [(word, accent, voice) for word in range(len(WORDS)) for accent in ACCENTS for voice in voices] * TAKES
    choice.shuffle(places)
    features = [
        _features(_noisy(_wave(WORDS[word], accent, voice, choice), choice, noise)) for word, accent, voice in places
    ]
    return np.stack(features), np.array([word for word, _, _ in places])


def _wave(word: str, accent: str, voice: str, choice: random.Random) -> NDArray[np.float32]:
    speed, pitch = str(choice.randint(110, 230)), str(choice.randint(25, 75))
    command = ["espeak-ng", "-v", f"{accent}+{voice}", "-s", speed, "-p", pitch, "--stdout", word]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(said, "<i2", offset=44).astype(np.float32) / 32768  # behind the header of a WAV file


def _noisy(wave: NDArray[np.float32], choice: random.Random, noise: np.random.Generator) -> NDArray[np.float32]:
    # The word somewhere in one second, 5 to 25 dB above white noise.
    wave = wave[:SAMPLES]
    start = choice.randint(0, SAMPLES - len(wave))
    level = float(np.sqrt((wave**2).mean())) * 10 ** (-choice.uniform(5, 25) / 20)
    whole = noise.normal(0, max(level, 1e-6), SAMPLES).astype(np.float32)
    whole[start : start + len(wave)] += wave
    return whole


def _features(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2
    return np.log(power @ _bank().T + 1e-8).astype(np.float32)


def _bank() -> NDArray[np.float64]:
    # Triangles at equal distances on the mel scale (O'Shaughnessy 1987: 2595 log10(1 + f / 700)), 60 Hz to 8 kHz.
    low, high = (2595 * np.log10(1 + f / 700) for f in (60.0, 8000.0))
    edges = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    f = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    rise = (f - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - f) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rise, fall), 0, None)
