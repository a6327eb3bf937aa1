"""Parameters as arrays: names, checksum, and what is refused."""

import jax
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.weights.params import check_params, flatten, params_sha256, unflatten
from tests.helpers.networks import PARAMS

CONFIG = {"model": {"width": 2, "dtype": "float32"}}


def test_sha256_sees_values_names_shapes_and_dtypes_but_not_order():
    base = {"a": {"kernel": np.arange(4, dtype=np.float32)}, "b": {"bias": np.ones(2, np.float32)}}
    # hashlib.sha256 over b"a/kernel (4,) <f4\n" + 4 floats + b"b/bias (2,) <f4\n" + 2 floats.
    assert params_sha256(base) == "4b2f2333c082ebb59388ee5c3eb17bfdea7fedb4fe36c96896fec3557db11751"
    assert params_sha256(dict(reversed(base.items()))) == params_sha256(base)
    assert params_sha256(base | {"a": {"kernel": np.arange(4, dtype=">f4")}}) == params_sha256(base)
    others = [{"kernel": np.arange(4, dtype=np.float32)[::-1]}, {"kernel": np.arange(4, dtype=np.float32)[:, None]},
              {"kernel": np.arange(4, dtype=np.int32)}, {"bias": np.arange(4, dtype=np.float32)}]
    sums = {params_sha256(base | {"a": other}) for other in others} | {params_sha256(base)}
    assert len(sums) == 5


def test_flatten_and_unflatten_are_inverse():
    flat = flatten(PARAMS)
    assert list(flat) == sorted(flat) and "conv1/kernel" in flat
    jax.tree.map(np.testing.assert_array_equal, unflatten(flat), PARAMS)


def test_parameters_of_another_network_are_refused():
    flat = flatten(PARAMS)
    cases = {"lacks array 'conv2/bias'": {k: v for k, v in flat.items() if k != "conv2/bias"},
             "unknown array 'conv99/bias'": flat | {"conv99/bias": flat["conv1/bias"]},
             "conv1/bias is float64": flat | {"conv1/bias": flat["conv1/bias"].astype(np.float64)},
             "conv1/bias is float32 (3,)": flat | {"conv1/bias": np.zeros(3, np.float32)},
             "conv2/kernel holds NaN": flat | {"conv2/kernel": np.full_like(flat["conv2/kernel"], np.nan)}}
    for words, arrays in cases.items():
        with pytest.raises(UserError) as caught:
            check_params(unflatten(arrays), CONFIG, "here")
        assert "weights here" in str(caught.value) and words in str(caught.value)
