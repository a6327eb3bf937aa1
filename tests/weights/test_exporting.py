"""The network as StableHLO, ONNX and TFLite: each file runs in its own runtime and agrees with the JAX network."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.cli.main import main
from edmf_jax.core.model import MIN_SIDE_PX
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.training.checkpoint import Checkpoints
from edmf_jax.training.export_run import export_run, export_weights
from edmf_jax.training.run_dir import write_run
from edmf_jax.training.state import TrainState
from edmf_jax.weights.exporting import LAYOUT, MODEL_FORMATS, save_model
from edmf_jax.weights.params import params_sha256
from edmf_jax.weights.store import Weights, load_weights, save_weights
from tests.helpers.export_runtimes import RUN, WEIGHTS, fuse, random_weights, reference, tflite_interpreter
from tests.helpers.runs import tiny_config

# The smallest size, even by odd, odd by even, both odd, several pictures, and a larger one.
SHAPES = [(1, 16, 16), (1, 16, 17), (1, 17, 16), (1, 17, 19), (2, 33, 16), (3, 18, 21), (1, 95, 130)]
NEEDS = {"stablehlo": ("flatbuffers", "export"), "onnx": ("onnx", "export"), "tflite": ("tensorflow", "train")}


@pytest.fixture(scope="module", params=MODEL_FORMATS)
def exported(request, tmp_path_factory):
    """The format, the exported file, and the file as a function of two planes."""
    pytest.importorskip(NEEDS[request.param][0])
    path = tmp_path_factory.mktemp("exported") / f"model.{request.param}"
    save_model(path, WEIGHTS, format=request.param)
    return request.param, path, RUN[request.param](path)


# --- the function in the file


@pytest.mark.parametrize("shape", SHAPES)
def test_each_runtime_gives_the_output_of_jax(exported, shape):
    a, b, expected = reference(shape)
    fused = exported[2](a, b)
    assert fused.dtype == np.float32 and fused.shape == shape
    assert np.ptp(expected) > 0.05  # a constant would prove nothing
    np.testing.assert_allclose(fused, expected, rtol=0, atol=1e-4)
    assert np.abs(exported[2](b, a) - expected).max() > 1e-3  # a and b are not exchanged


def test_a_batch_gives_the_same_as_its_pictures_alone(exported):
    a, b, _ = reference((3, 18, 21))
    one = exported[2](a[1:2], b[1:2])
    np.testing.assert_allclose(exported[2](a, b)[1:2], one, rtol=0, atol=1e-5)


def test_constant_pictures(exported):
    for level in (0, 1):
        plane = np.full((1, 21, 30), level, np.float32)
        expected = fuse(17, WEIGHTS.params, plane, plane)
        np.testing.assert_allclose(exported[2](plane, plane), expected, rtol=0, atol=1e-4)


def test_output_is_not_clipped(tmp_path, exported):
    params = WEIGHTS.params | {"conv11": {**WEIGHTS.params["conv11"], "bias": np.full(1, -3, np.float32)}}
    save_model(tmp_path / "m", Weights(params, WEIGHTS.config, "dark"), format=exported[0])
    a, b, _ = reference((1, 16, 16))
    fused = RUN[exported[0]](tmp_path / "m")(a, b)
    assert fused.min() < -0.5
    np.testing.assert_allclose(fused, fuse(17, params, a, b), rtol=0, atol=1e-4)


def test_it_computes_in_float32_even_if_trained_in_bfloat16(exported, tmp_path):
    config = {"model": {"width": 17, "dtype": "bfloat16"}}
    save_model(tmp_path / "m", Weights(WEIGHTS.params, config, "w"), format=exported[0])
    a, b, expected = reference((1, 17, 19))
    np.testing.assert_allclose(RUN[exported[0]](tmp_path / "m")(a, b), expected, rtol=0, atol=1e-4)


# --- descriptions and requirements of the files


def test_stablehlo_runs_without_this_package_and_refuses_what_is_too_small(tmp_path):
    from jax import export

    save_model(tmp_path / "m", WEIGHTS, format="stablehlo")
    read = export.deserialize((tmp_path / "m").read_bytes())
    assert read.platforms == ("cpu", "cuda", "tpu") and read.fun_name == "edmf_fuse_luma"
    a, b, expected = reference((1, 17, 19))
    np.savez(tmp_path / "x.npz", a=a, b=b, expected=expected)
    script = """if True:
        import sys, jax, numpy as np
        from jax import export
        run, x = export.deserialize(open("m", "rb").read()), np.load("x.npz")
        assert np.abs(run.call(x["a"], x["b"]) - x["expected"]).max() < 1e-4
        assert not {"edmf_jax", "flax"} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for shape in ((1, MIN_SIDE_PX - 1, 20), (1, 20, MIN_SIDE_PX - 1)):
        with pytest.raises(ValueError):
            read.call(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="width"):
        read.call(np.zeros((1, 16, 20), np.float32), np.zeros((1, 16, 21), np.float32))


def test_onnx_is_valid_and_described(tmp_path):
    onnx = pytest.importorskip("onnx")
    save_model(tmp_path / "m", WEIGHTS, format="onnx")
    model = onnx.load(tmp_path / "m")
    onnx.checker.check_model(model, full_check=True)
    # Twelve layers, and one for each pixel of the 2 × 2 blocks of the upsampling.
    assert [node.op_type for node in model.graph.node].count("Conv") == 12 + 4
    assert {(opset.domain, opset.version) for opset in model.opset_import} == {("", 17)}
    tensors = [*model.graph.input, *model.graph.output]
    assert [tensor.name for tensor in tensors] == ["a", "b", "fused"]
    for tensor in tensors:
        shape = [dim.dim_param for dim in tensor.type.tensor_type.shape.dim]
        assert shape == ["batch", "height", "width"] and "float32" in tensor.doc_string
    properties = {prop.key: prop.value for prop in model.metadata_props}
    assert properties["layout"] == model.doc_string == LAYOUT
    assert properties["params_sha256"] == params_sha256(WEIGHTS.params)
    assert json.loads(properties["provenance"]) == WEIGHTS.provenance


def test_tflite_is_described_and_needs_no_other_operations(tmp_path):
    pytest.importorskip("tensorflow")
    from tensorflow.lite.tools import flatbuffer_utils

    save_model(tmp_path / "m", WEIGHTS, format="tflite")
    interpreter = tflite_interpreter(tmp_path / "m")
    assert interpreter.get_signature_list() == {"edmf_fuse_luma": {"inputs": ["a", "b"], "outputs": ["fused"]}}
    tensors = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert all(list(tensor["shape_signature"]) == [-1, -1, -1] for tensor in tensors)
    tree = flatbuffer_utils.convert_bytearray_to_object(bytearray((tmp_path / "m").read_bytes()))
    assert tree.description.decode().endswith(LAYOUT)
    assert not any(code.customCode for code in tree.operatorCodes)
    index, = (entry.buffer for entry in tree.metadata if entry.name == b"edmf")
    metadata = json.loads(bytes(tree.buffers[index].data))
    assert metadata["layout"] == LAYOUT and metadata["params_sha256"] == params_sha256(WEIGHTS.params)
    assert json.loads(metadata["model"]) == WEIGHTS.config["model"]


# --- writing


def test_older_exports_are_replaced_and_other_files_are_not(tmp_path, tiny_files):
    pytest.importorskip("onnx")
    target, other = tmp_path / "m", random_weights(2)
    for format in ("stablehlo", "onnx", "onnx"):
        save_model(target, other, format=format, force=True)
    whole = target.read_bytes()
    with tiny_files(100), pytest.raises(UserError, match=r"m: cannot be written \(File too large\)"):
        save_model(target, WEIGHTS, format="onnx", force=True)
    assert target.read_bytes() == whole and os.listdir(tmp_path) == ["m"]
    (tmp_path / "notes.txt").write_text("mine")
    for name, words, error in (("notes.txt", "not a model that `edmf export` wrote", UserError),
                               (".", "this is a folder", UserError), ("x/m", "does not exist", MissingFileError)):
        with pytest.raises(error, match=words):
            save_model(tmp_path / name, other, format="onnx")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_damaged_parameters_and_unknown_formats_are_not_written(tmp_path):
    broken = {**WEIGHTS.params, "conv1": {**WEIGHTS.params["conv1"], "bias": np.full(17, np.nan, np.float32)}}
    with pytest.raises(UserError, match="conv1/bias holds NaN"):
        save_model(tmp_path / "m", Weights(broken, WEIGHTS.config, "w"), format="onnx")
    with pytest.raises(UserError, match="'coreml' is unknown; use one of stablehlo, onnx, tflite"):
        save_model(tmp_path / "m", WEIGHTS, format="coreml")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format", MODEL_FORMATS)
def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path, monkeypatch, format):
    package, extra = NEEDS[format]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as caught:
        save_model(tmp_path / "m", WEIGHTS, format=format)
    message = str(caught.value)
    assert f"--format={format} needs the package {package}" in message
    assert f'pip install "edmf-jax[{extra}]"' in message and "\n" not in message
    assert os.listdir(tmp_path) == []


# --- the command


@pytest.fixture
def folder(tmp_path):
    """Weights in a folder `w`, and a run `r` with one checkpoint of the same parameters, step 5."""
    weights = random_weights(2)
    save_weights(tmp_path / "w", weights.params, weights.config, provenance=weights.provenance)
    config = tiny_config(tmp_path, model__width=2)
    (tmp_path / "r").mkdir()
    write_run(tmp_path / "r", config, "fingerprint", "pixels", "images")
    checkpoints = Checkpoints(tmp_path / "r", keep_last=1)
    params = jax.tree.map(jnp.asarray, weights.params)
    checkpoints.save(5, TrainState(step=jnp.int32(5), params=params, opt_state=(), bank=jnp.zeros(1)))
    checkpoints.close()
    return tmp_path


@pytest.mark.parametrize("source", ["--weights", "--workdir"])
@pytest.mark.parametrize("format", ["numpy", "orbax", *MODEL_FORMATS])
def test_the_command_writes_every_format_of_both_sources(folder, capsys, source, format):
    if format in NEEDS:
        pytest.importorskip(NEEDS[format][0])
    given, out = folder / {"--weights": "w", "--workdir": "r"}[source], folder / "out"
    assert main(["export", source, str(given), "--format", format, "-o", str(out)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert str(out) in last and ("step 5" in last) == (source == "--workdir")
    assert (LAYOUT in last) == (format in MODEL_FORMATS)
    expected = load_weights(folder / "w")
    if format in MODEL_FORMATS:
        a, b, _ = reference((1, 17, 19))
        fused = RUN[format](out)(a, b)
        np.testing.assert_allclose(fused, fuse(2, expected.params, a, b), rtol=0, atol=1e-4)
    else:
        written = load_weights(out)
        jax.tree.map(np.testing.assert_array_equal, written.params, expected.params)
        assert written.provenance == expected.provenance or source == "--workdir"


def test_the_command_refuses_in_one_line(folder, capsys):
    def refused(*words):
        try:
            code = main(["export", *map(str, words), "-o", str(folder / "out")])
        except SystemExit as stop:
            code = stop.code
        assert code == 2 and not (folder / "out").exists()
        line, = capsys.readouterr().err.splitlines()
        return line

    assert "one of the arguments --workdir --weights is required" in refused()
    assert "not allowed with argument" in refused("--weights", folder / "w", "--workdir", folder / "r")
    assert "--step=5: weights have no steps" in refused("--weights", folder / "w", "--step", "5")
    assert "no such folder" in refused("--weights", folder / "gone", "--format", "onnx")
    assert "there is no run here" in refused("--workdir", folder / "w", "--format", "onnx")
    assert "the steps saved are 5" in refused("--workdir", folder / "r", "--step", "4", "--format", "stablehlo")
    assert "invalid choice: 'coreml'" in refused("--weights", folder / "w", "--format", "coreml")
    for call in (lambda: export_weights(folder / "w", folder / "out", format="coreml"),
                 lambda: export_run(folder / "r", folder / "out", format="coreml")):
        with pytest.raises(UserError, match="'coreml' is unknown; use one of numpy, orbax, stablehlo, onnx, tflite"):
            call()
