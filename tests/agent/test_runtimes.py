import json
import sys
from pathlib import Path

import board_models
import numpy as np
import onnxruntime
import pytest
from edgeprune_agent import identity, runtimes
from edgeprune_agent.runtimes import FORMATS, RUNTIMES, Rejected, onnx, tflite


class RuntimeContract:
    """What every runtime module gives; each runtime's tests inherit it."""

    name = ""
    module = None

    @pytest.fixture
    def path(self, tmp_path):
        raise NotImplementedError

    def test_it_describes_itself(self):
        about = self.module.describe()
        assert set(about) == {"name", "version", "providers", "reason"}
        assert (about["name"], about["reason"]) == (self.name, "")
        assert about["version"][0].isdigit()
        assert "CPU" in about["providers"]

    def test_it_says_why_it_cannot_be_used(self, monkeypatch):
        for package in self.module.PACKAGES:
            monkeypatch.setitem(sys.modules, package, None)
        about = self.module.describe()
        assert (about["version"], about["providers"]) == (None, [])
        assert self.module.PACKAGES[0] in about["reason"]

    def test_a_probe_in_a_process_of_its_own_says_the_same(self):
        assert runtimes.probe(self.name, sys.executable) == self.module.describe()

    def test_a_model_runs_and_a_bound_call_gives_the_same(self, path):
        model = self.module.open_model(str(path), 1)
        x = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
        outputs = model.run([x])
        assert [spec["dtype"] for spec in model.inputs] == ["float32"]
        assert len(outputs) == len(model.outputs) == 1
        assert list(outputs[0].shape[1:]) == model.outputs[0]["shape"][1:]
        bound = model.bind([x])
        for _ in range(2):
            np.testing.assert_array_equal(bound()[0], outputs[0])
        assert model.providers

    @pytest.mark.parametrize("content", [b"", b"no model", b"\0" * 1000])
    def test_a_file_that_is_no_model_is_rejected(self, tmp_path, content):
        path = tmp_path / "bad"
        path.write_bytes(content)
        with pytest.raises(Rejected):
            self.module.open_model(str(path), 1)

    def test_a_file_that_is_not_there_is_rejected(self, tmp_path):
        with pytest.raises(Rejected):
            self.module.open_model(str(tmp_path / "nothing"), 1)


class TestOnnxruntime(RuntimeContract):
    name, module = "onnxruntime", onnx

    @pytest.fixture
    def path(self, tmp_path):
        return board_models.linear(tmp_path / "m.onnx")

    def test_outputs_are_those_of_a_plain_session(self, path):
        x = np.float32([[1, 2, 3, 4]])
        plain = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})
        np.testing.assert_array_equal(onnx.open_model(str(path), 1).run([x])[0], plain[0])

    def test_an_open_dimension_is_minus_one(self, path, tmp_path):
        assert onnx.open_model(str(path), 1).inputs == [{"name": "x", "shape": [-1, 4], "dtype": "float32"}]
        fixed = board_models.linear(tmp_path / "fixed.onnx", batch=3)
        assert onnx.open_model(str(fixed), 1).inputs[0]["shape"] == [3, 4]

    def test_a_bound_call_is_the_sessions_own_run(self, path):
        bound = onnx.open_model(str(path), 1).bind([np.zeros((1, 4), np.float32)])
        assert bound.func.__name__ == "run"
        assert bound.args[0] is None
        assert list(bound.args[1]) == ["x"]

    def test_dtypes_have_numpys_names(self, tmp_path):
        model = onnx.open_model(str(board_models.two_in_two_out(tmp_path / "m.onnx")), 1)
        assert [spec["dtype"] for spec in model.inputs] == ["float32", "int64"]

    def test_strict_refuses_nodes_on_the_cpu_and_without_it_the_cpu_is_named(self, path, monkeypatch):
        # A build that lists a provider whose library is not there: onnxruntime warns and takes the CPU.
        built = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built)
        with pytest.warns(UserWarning, match="CUDA"):
            assert onnx.open_model(str(path), 1, "CUDA").providers == ["CPU"]
        with pytest.warns(UserWarning, match="CUDA"), pytest.raises(Rejected, match="CPU EP"):
            onnx.open_model(str(path), 1, "CUDA", strict=True)

    def test_tensorrt_is_asked_to_keep_its_engines(self, path, tmp_path, monkeypatch):
        asked = []
        true, built = onnxruntime.InferenceSession, ["TensorrtExecutionProvider", "CPUExecutionProvider"]

        def session(path, options, providers):
            asked.append(providers)
            return true(path, options, providers=["CPUExecutionProvider"])

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built)
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        folder = str(tmp_path / "engines" / "MAXN")
        onnx.open_model(str(path), 1, "TensorRT", engines=folder)
        (name, options), fallback = asked[0]
        assert (name, fallback) == ("TensorrtExecutionProvider", "CPUExecutionProvider")
        assert options == {"trt_engine_cache_enable": "True", "trt_engine_cache_path": folder}
        assert Path(folder).is_dir()


class TestLitert(RuntimeContract):
    name, module = "litert", tflite

    @pytest.fixture
    def path(self):
        return board_models.TFLITE

    def test_outputs_do_not_change_when_the_model_runs_again(self, path):
        model = tflite.open_model(str(path), 1)
        first = model.run([np.ones((1, 4), np.float32)])[0]
        kept = first.copy()
        model.run([np.zeros((1, 4), np.float32)])
        np.testing.assert_array_equal(first, kept)

    def test_the_delegate_that_took_nodes_is_named(self, path):
        assert "XNNPACK" in tflite.open_model(str(path), 1).providers

    def test_built_in_kernels_alone_give_the_same_without_the_delegate(self, path):
        x = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
        plain = tflite.open_model(str(path), 1, "CPU")
        assert plain.providers == ["CPU"]
        np.testing.assert_allclose(plain.run([x])[0], tflite.open_model(str(path), 1).run([x])[0], rtol=1e-5)

    def test_a_provider_that_it_has_not_is_refused(self, path):
        with pytest.raises(Rejected, match="no provider CUDA"):
            tflite.open_model(str(path), 1, "CUDA")

    def test_the_older_package_serves_where_the_new_one_is_missing(self, monkeypatch):
        import ai_edge_litert
        import ai_edge_litert.interpreter

        monkeypatch.setitem(sys.modules, "tflite_runtime", ai_edge_litert)
        monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", ai_edge_litert.interpreter)
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
        assert tflite.describe()["reason"] == ""
        assert tflite.open_model(str(board_models.TFLITE), 1).run([np.zeros((1, 4), np.float32)])


def test_every_format_has_a_runtime_and_every_runtime_a_module():
    for names in FORMATS.values():
        for name in names:
            assert runtimes.load(name).describe()["name"] == name
    assert set(RUNTIMES) == {name for names in FORMATS.values() for name in names}


def worker_that(monkeypatch, code):
    monkeypatch.setattr(identity, "worker_command", lambda python: [python, "-c", code])


def test_a_runtime_whose_import_crashes_cannot_be_used(monkeypatch):
    worker_that(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    about = runtimes.probe("onnxruntime", sys.executable)
    assert about["version"] is None
    assert about["reason"] == "importing it ended with status -4"


def test_a_runtime_whose_import_hangs_cannot_be_used(monkeypatch):
    monkeypatch.setattr(runtimes, "_PROBE_S", 0.2)
    worker_that(monkeypatch, "import time; time.sleep(60)")
    assert "took over" in runtimes.probe("onnxruntime", sys.executable)["reason"]


def test_what_an_import_prints_is_not_taken_for_the_answer(monkeypatch):
    about = {"name": "onnxruntime", "version": "9", "providers": [], "reason": ""}
    worker_that(monkeypatch, f"print('hello'); print({json.dumps(json.dumps(about))})")
    assert runtimes.probe("onnxruntime", sys.executable) == about


def test_the_stamp_of_a_runtime_changes_when_it_is_gone(monkeypatch, root):
    stamp = runtimes.stamp("onnxruntime", root)
    assert stamp == runtimes.stamp("onnxruntime", root)
    monkeypatch.setattr(onnx, "PACKAGES", ("a_package_that_nobody_has",))
    assert runtimes.stamp("onnxruntime", root) != stamp


def test_the_stamp_of_a_runtime_changes_when_it_comes_into_the_venv(root):
    before = runtimes.stamp("onnxruntime", root)
    package = Path(root, "venv", "lib", "python3.99", "site-packages", "onnxruntime")
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert runtimes.stamp("onnxruntime", root) != before
