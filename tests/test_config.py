"""`edgeprune.toml`: what is read, and how each mistake is named."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.config import Config, FinetuneConfig, SearchConfig, load, sections
from edgeprune.config.positions import line_numbers
from edgeprune.config.rules import OneOf
from edgeprune.errors import EXIT_USAGE, ConfigError
from edgeprune.values.choice import OBJECTIVES
from edgeprune.values.plan import PLANS
from edgeprune.values.spec import FORMATS, METHODS, PRECISIONS, FinetuneSpec

FULL = """\
[model]
factory = "model:build"
weights = "weights.safetensors"
inputs = [
  { name = "image", shape = [1, 1, 28, 28], dtype = "float32" },
]

[data]
train = "data:train"
test = "data:test"
metric = "accuracy"
calibration_batches = 4

[finetune]
epochs = 2
learning_rate = 1

[search]
methods = ["channel", "hybrid"]
formats = ["onnx"]
precisions = ["fp32", "int8"]
threads = [1, 2]
plan = "quick"
trials = 7
device_time = "10m"

[goal]
minimize = ["latency", "energy"]
constraints = ["accuracy_drop <= 0.5pt", "p95_latency <= 20ms"]

[devices.jetson]
address = "ssh://nvidia@jetson.local"
profile = "jetson-orin-nano"
meter = "onboard"
tags = { bench = "lab-2" }

[store]
url = "sqlite:///.edgeprune/runs.db"
"""
MINIMAL = '[model]\nfactory = "m:f"\ninputs = [{ name = "x", shape = [1, 3] }]\n'


@pytest.fixture
def write(tmp_path):
    def _write(text: str | bytes) -> Path:
        path = tmp_path / "edgeprune.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _write


@pytest.fixture
def refusal(write):
    def _refusal(text: str | bytes) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            load(write(text))
        assert caught.value.exit_code == EXIT_USAGE
        assert caught.value.next_step
        return caught.value

    return _refusal


def line_of(text: str, piece: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), start=1) if piece in line)


def test_every_key_reaches_its_field(write):
    config = load(write(FULL))
    assert config.model.inputs[0].shape == (1, 1, 28, 28)
    assert config.search.device_time_s == 600.0
    assert (config.search.threads, config.search.trials, config.search.plan) == ((1, 2), 7, "quick")
    assert config.goal.constraints == ("accuracy_drop <= 0.5pt", "p95_latency <= 20ms")
    assert config.devices["jetson"].name == "jetson"
    assert config.devices["jetson"].tags == {"bench": "lab-2"}
    assert config.finetune.learning_rate == 1.0 and type(config.finetune.learning_rate) is float


def test_defaults_are_filled_in_where_the_file_is_silent(write, tmp_path):
    config = load(write(MINIMAL))
    assert (config.path, config.folder) == (tmp_path / "edgeprune.toml", tmp_path)
    assert config.search == SearchConfig()
    assert config.search.formats == ("onnx", "tflite") and config.search.ratios == (0.25, 0.5, 0.7)
    assert config.data.metric == "accuracy" and config.data.train is None
    assert config.store.url == "sqlite:///.edgeprune/runs.db"
    assert config.devices == {} and config.model.weights is None


def test_nearest_file_upwards_is_found(write, tmp_path, monkeypatch):
    path = write(MINIMAL)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert load().path == path
    assert load(start=deep).folder == tmp_path


def test_missing_file_sends_to_init(tmp_path):
    for given_path in ({"start": tmp_path}, {"path": tmp_path / "none.toml"}):
        with pytest.raises(ConfigError, match="edgeprune init"):
            load(**given_path)


def test_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_byte_order_mark_and_windows_line_ends_are_read(write, refusal):
    assert load(write(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())).model.factory == "m:f"
    assert refusal((MINIMAL + "[data]\nmetric = 3\n").replace("\n", "\r\n")).line == 5


def test_bytes_that_are_no_utf8_are_named_with_their_line(refusal):
    error = refusal(MINIMAL.encode() + b'# caf\xe9\n[store]\nurl = "x"\n')
    assert error.line == 4 and "UTF-8" in str(error)


MISTAKES = [
    # replaced, replacement, place named, then what the next step offers
    ("epochs = 2", "epoch = 2", "Unknown key 'epoch' in [finetune]", "'epochs'"),
    ("epochs = 2", 'methods = ["channel"]', "Unknown key 'methods' in [finetune]", "belongs in [search]"),
    ("epochs = 2", 'epochs = "2"', 'finetune.epochs: "2" is not a whole number', "Did you mean 2?"),
    ("epochs = 2", "epochs = 2.0", "finetune.epochs: 2.0", "Did you mean 2?"),
    ("epochs = 2", "epochs = true", "finetune.epochs: true", "whole number"),
    ("epochs = 2", "epochs = -1", "finetune.epochs: -1", "nearest that fits is 0"),
    ("learning_rate = 1", "learning_rate = 0", "finetune.learning_rate: 0", "above 0"),
    ("learning_rate = 1", "learning_rate = nan", "finetune.learning_rate: nan", "a number"),
    ("learning_rate = 1", "distillation_ratio = 1.5", "finetune.distillation_ratio: 1.5", "fits is 1"),
    ("learning_rate = 1", 'optimizer = "adam"', "finetune.optimizer: Unknown optimizer 'adam'", "'adamw'"),
    ('factory = "model:build"', 'factory = "model.build"', "model.factory: 'model.build'", "'model:build'"),
    ('factory = "model:build"', 'factory = "model:"', "model.factory: 'model:'", "'model:build'"),
    ('factory = "model:build"', "factory = 3", "model.factory: 3 is not text", 'Did you mean "3"?'),
    ("28, 28]", "28, -28]", "model.inputs[0].shape[3]: -28", "fits is 1"),
    ("28, 28]", '28, "28"]', 'model.inputs[0].shape[3]: "28"', "Did you mean 28?"),
    ("[1, 1, 28, 28]", "[]", "model.inputs[0].shape: It is empty", "value"),
    ('"float32"', '"float23"', "model.inputs[0].dtype: Unknown dtype 'float23'", "'float32'"),
    ('name = "image", ', "", "[model.inputs[0]] has no 'name'", "Add name"),
    ("shape = [", "shap = [", "Unknown key 'shap' in [model.inputs[0]]", "'shape'"),
    ('metric = "accuracy"', 'metric = "acuracy"', "data.metric: Unknown metric 'acuracy'", "'accuracy'"),
    ("calibration_batches = 4", "calibration_batches = 0", "data.calibration_batches: 0", "fits is 1"),
    ('"hybrid"]', '"hibrid"]', "search.methods[1]: Unknown pruning method 'hibrid'", "'hybrid'"),
    ('formats = ["onnx"]', 'formats = ["onx"]', "search.formats[0]: Unknown export format 'onx'", "'onnx'"),
    ('formats = ["onnx"]', 'formats = "onnx"', 'search.formats: "onnx" is not a list', '["onnx"]'),
    ('formats = ["onnx"]', "formats = []", "search.formats: The list is empty", "at least one"),
    ('formats = ["onnx"]', 'formats = ["onnx", "onnx"]', "search.formats: 'onnx' stands here twice", "once"),
    ('"int8"]', '"int4"]', "search.precisions[1]: Unknown precision 'int4'", "'int8'"),
    ("[1, 2]", "[1, 0]", "search.threads[1]: 0", "fits is 1"),
    ("trials = 7", "ratios = [0.5, 1.0]", "search.ratios[1]: 1.0", "below 1"),
    ('plan = "quick"', 'plan = "quik"', "search.plan: Unknown bench plan 'quik'", "'quick'"),
    ('"10m"', "600", "search.device_time: 600", '"10m"'),
    ('"10m"', '"10mim"', "search.device_time: '10mim'", "'10min'"),
    ('"10m"', '"0s"', "search.device_time: 0", "above 0"),
    ('device_time = "10m"', "device_time_s = 600", "Unknown key 'device_time_s'", "'device_time'"),
    ('"energy"]', '"enrgy"]', "goal.minimize[1]: Unknown quantity to minimize 'enrgy'", "'energy'"),
    ("20ms", "20mz", "goal.constraints[1]: '20mz'", "Did you mean"),
    ("<= 20ms", "< 20ms", "goal.constraints[1]: 'p95_latency < 20ms'", "p95_latency <= 20ms"),
    ("p95_latency", "p59_latency", "goal.constraints[1]: Unknown quantity 'p59_latency'", "'p95_latency'"),
    ("[devices.jetson]", "[device.jetson]", "Unknown section or key 'device'", "'devices'"),
    ("ssh://nvidia@", "nvidia@", "devices.jetson.address: 'nvidia@jetson.local'", "ssh://user@host"),
    ('"onboard"', '"onbord"', "devices.jetson.meter: 'onbord'", "'onboard'"),
    ('bench = "lab-2"', "bench = 2", "devices.jetson.tags.bench: 2", 'Did you mean "2"?'),
    ('{ bench = "lab-2" }', '"lab-2"', 'devices.jetson.tags: "lab-2" is not a table', "[devices.jetson.tags]"),
    ('profile = "jetson', 'borad = "jetson', "Unknown key 'borad' in [devices.jetson]", "profile"),
    ("[store]", "[stor]", "Unknown section or key 'stor'", "'store'"),
    ("sqlite:///", "", "store.url", "sqlite:///"),
    ("[store]", "[store", "'[store' is not valid TOML", "key = value"),
    ("trials = 7", "trials = 7\ntrials = 8", "Cannot overwrite a value", "each key once"),
    ("[store]", "[goal]", "'[goal]' is not valid TOML", "each key once"),
]


@pytest.mark.parametrize(("old", "new", "names", "offers"), MISTAKES, ids=[f"{m[1] or m[0]}" for m in MISTAKES])
def test_mistake_is_named_with_its_line_and_the_nearest_valid(refusal, old, new, names, offers):
    assert FULL.count(old) == 1, f"{old!r} must stand once"
    text = FULL.replace(old, new)
    error = refusal(text)
    bad_line = line_of(FULL, old) + new.count("\n")
    assert error.line == bad_line
    assert error.message.startswith(f"{error.path}:{bad_line}: ")
    assert names in error.message
    assert offers in error.next_step


@pytest.mark.parametrize("text", ["", "[data]\nmetric = 'accuracy'\n"])
def test_file_without_a_model_says_so(refusal, text):
    assert "no section [model]" in refusal(text).message


def test_missing_key_is_reported_at_its_section(refusal):
    error = refusal("\n\n[model]\ninputs = [{ name = 'x', shape = [1] }]\n")
    assert error.line == 3 and "[model] has no 'factory'" in error.message


def test_device_without_an_address_is_reported_at_its_section(refusal):
    error = refusal(MINIMAL + "[devices.a]\naddress = 'local://'\n[devices.b]\nmeter = 'none'\n")
    assert error.line == 6 and "[devices.b] has no 'address'" in error.message


def test_section_that_is_no_table_is_named(refusal):
    assert "data: 3 is not a table" in refusal("data = 3\n" + MINIMAL).message


def test_unfinished_text_is_reported_at_the_end(refusal):
    assert refusal(MINIMAL + "[store]\nurl = 'x\n").line == 5


@pytest.mark.parametrize(
    ("hint", "names"),
    [
        (sections.Method, METHODS),
        (sections.Format, FORMATS),
        (sections.Precision, PRECISIONS),
        (sections.Quantity, OBJECTIVES),
        (sections.Plan, tuple(PLANS)),
    ],
)
def test_names_of_the_schema_are_those_of_the_values(hint, names):
    (rule,) = (rule for rule in hint.__metadata__ if isinstance(rule, OneOf))
    assert rule.known == names


def test_finetune_section_has_the_defaults_of_its_spec():
    assert {f.name: f.default for f in dataclasses.fields(FinetuneSpec)} == {
        f.name: f.default for f in dataclasses.fields(FinetuneConfig) if f.name != "trainer"
    }


def test_every_section_is_a_field_of_the_config():
    hints = typing.get_type_hints(Config)
    assert list(hints)[2:] == ["model", "data", "finetune", "export", "search", "goal", "devices", "store"]


# --- positions: whatever tomllib reads, the scanner finds, at the line where it was written


def places(data: object, place: tuple = ()) -> set[tuple]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return {place} - {()} | {deeper for key, item in items for deeper in places(item, (*place, key))}


HARD = """\
# [not.a.section]
"quoted . key".'lit' = 1   # a = 2
[a]  # comment
b.c = "x # no comment ] } = \\" 'q'"
b.d = '''
[fake]
fake = 1'''
e = [ 1, [2, 3],  # two
  "]", { f = [ { g = 1 }, ], h = "}" },
]
t = 1979-05-27 07:32:00
m = \"\"\"
quotes \\\"\"\" inside""\"\"\"
[[list]]
n = 1
[[list.inner]]
n = 2
[[list]]
[list.table]
n = { }
[[ "list" . inner ]]
n = [
]
"""


def test_scanner_finds_every_place_of_a_hard_file():
    found = line_numbers(HARD)
    assert set(found) == places(tomllib.loads(HARD))
    expected = {
        ("quoted . key", "lit"): 2, ("a",): 3, ("a", "b", "c"): 4, ("a", "b", "d"): 5, ("a", "e", 1, 1): 8,
        ("a", "e", 3, "f", 0, "g"): 9, ("a", "t"): 11, ("a", "m"): 12, ("list", 0, "n"): 15,
        ("list", 0, "inner", 0, "n"): 17, ("list", 1): 18, ("list", 1, "table", "n"): 20, ("list", 1, "inner", 0): 21,
    }  # fmt: skip
    assert {place: found[place] for place in expected} == expected


KEYS = st.text(st.sampled_from("ab_-1"), min_size=1, max_size=3) | st.sampled_from(["x.y", "[z]", "#", "é", "'", " "])
TEXTS = st.text(st.sampled_from("ab]}[{#='\"\\,. é"), max_size=6)
VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(value: object, gap: str) -> str:
    if isinstance(value, list):
        return f"[{gap}" + f",{gap}".join(written(item, gap) for item in value) + f"{gap}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted(k)} = {written(v, gap)}" for k, v in value.items()) + " }"
    return quoted(value) if isinstance(value, str) else str(value).lower()


@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3), st.sampled_from(["", " ", "\n #]\n"])
)
def test_scanner_agrees_with_tomllib_on_any_layout(document, gap):
    text, headers, pairs = "", {}, {}
    for section, table in document.items():
        headers[(section,)] = text.count("\n") + 1
        text += f"[{quoted(section)}] # {section}\n"
        for key, value in table.items():
            pairs[section, key] = text.count("\n") + 1
            text += f"{quoted(key)} = {written(value, gap)}\n"
    found = line_numbers(text)
    assert tomllib.loads(text) == document
    assert set(found) == places(document)
    assert {place: found[place] for place in headers | pairs} == headers | pairs


@given(st.text(st.sampled_from("[]{}=\"'\n#.,ab1 \\"), max_size=40))
def test_no_valid_text_makes_the_scanner_stumble(text):
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(line_numbers(text)) == places(data)


@given(st.text(st.sampled_from("[]=\"'\n#model:datx1. "), max_size=60))
def test_any_text_is_read_or_refused_as_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "edgeprune.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load(path)
