"""The training step: equal on 1, 2 and 4 devices and to the reference, compiled once, the bank updated in place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core import losses, memory, model
from edmf_jax.core.focus import focus_masks
from edmf_jax.core.targets import TargetConfig
from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.training import state, steps
from edmf_jax.training.bank_files import copy_slot
from edmf_jax.training.state import TrainState
from tests.helpers.files import nest
from tests.helpers.networks import run_unpadded
from tests.helpers.programs import communication, convolution_groups
from tests.helpers.training_rig import Rig


def assert_close(one, many):
    """Compares a batch's means of two programs, whose sums differ in order, so that a gray level may differ by one."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-5),
                 *({name: value for name, value in means.items() if name != "gradient_norm"} for means in (one, many)))
    # A norm of differences of planes: ten times as sensitive as the loss.
    np.testing.assert_allclose(one["gradient_norm"], many["gradient_norm"], rtol=2e-2)


@pytest.fixture(scope="module")
def single():
    rig = Rig(1)
    return rig, *rig.epochs(6)


@pytest.mark.parametrize("devices", [2, 4])
def test_devices_agree(single, devices):
    _, state_1, means_1, reports_1 = single
    state_n, means_n, reports_n = Rig(devices).epochs(6)
    for one, many in zip(means_1, means_n, strict=True):
        assert_close(one, many)
    for one, many in zip(reports_1, reports_n, strict=True):
        assert bool(one["admitted"]) == bool(many["admitted"])
        np.testing.assert_array_equal(one["held_epochs"], many["held_epochs"])
        assert float(one["sharpness"]) == pytest.approx(float(many["sharpness"]), rel=1e-4)
    images_1, images_n = (np.asarray(state.to_checkpoint_layout(s).bank.images, int) for s in (state_1, state_n))
    assert np.abs(images_1 - images_n).max() <= 2


def test_the_bank_holds_the_outputs_of_the_network(single):
    """After an epoch of learning rate 0, every remembered plane is the network's output, with its scores."""
    rig = Rig(2, learning_rate=0.0, width=16)
    fresh = rig.fresh_state()
    params = jax.device_get(fresh.params)
    order = rig.order(0)
    for _ in range(rig.layout.steps_per_epoch):
        fresh, _ = rig.train_step(fresh, rig.sources, order)
    after, report = rig.epoch_end(fresh, rig.sources)
    bank = jax.device_get(state.to_checkpoint_layout(after).bank)
    rows = rig.layout.bank_row_of_patch()
    cut = [rig.training_set.pairs[i].luma[:, y : y + 32, x : x + 32] for i, y, x in rig.training_set.table]
    planes = jnp.asarray(np.stack(cut), jnp.float32) / 255
    output = run_unpadded(rig.step_config.model, params, planes[:, 0], planes[:, 1])
    levels = memory.quantize(output)
    slot = int(bank.slots[0])
    assert np.abs(bank.images[rows, slot].astype(int) - np.asarray(levels, int)).max() <= 1
    kept = memory.dequantize(jnp.asarray(bank.images[rows, slot]))
    np.testing.assert_allclose(bank.scores[rows, slot], jax.jit(losses.source_score)(kept, planes), rtol=1e-4)
    assert float(report["sharpness"]) == pytest.approx(float(bank.sharpness[rows, slot].mean()), rel=1e-5)
    empty = np.setdiff1d(np.arange(rig.layout.bank_rows), rows)
    assert bank.images[empty].max() == 0


def test_snapshots_equal_images_while_the_parameters_do_not_change():
    """Three epochs at learning rate 0 on 2 devices: recomputed outputs equal those in the bank, so all losses agree."""
    results = {kind: Rig(2, learning_rate=0.0, memory_kind=kind, width=16).epochs(3)
               for kind in ("images", "snapshots")}
    for a, b in zip(results["images"][1], results["snapshots"][1], strict=True):
        assert_close(a, b)
    for a, b in zip(results["images"][2], results["snapshots"][2], strict=True):
        assert bool(a["admitted"]) == bool(b["admitted"])
        np.testing.assert_array_equal(a["held_epochs"], b["held_epochs"])
        assert float(a["sharpness"]) == pytest.approx(float(b["sharpness"]), rel=1e-4)
    # In the third epoch two entries exist, equal to the output at 8 bits; the empty ones differ from it.
    similarity = 1 - results["snapshots"][1][-1]["memory_ssim"]
    assert similarity[:2].min() > 0.95 > 0.5 > similarity[2:].max()


def test_snapshots_agree_on_one_and_four_devices(single):
    one, four = (Rig(n, memory_kind="snapshots").epochs(3) for n in (1, 4))
    for a, b in zip(one[1], four[1], strict=True):
        assert_close(a, b)
    np.testing.assert_array_equal(one[0].bank.epochs, four[0].bank.epochs)


def test_ratio_is_one_in_the_first_epoch_and_shared_with_four_remembered_ones_later(single):
    _, _, means, _ = single
    per_epoch = single[0].layout.steps_per_epoch
    assert float(means[0]["ratio"]) == 1
    assert float(np.max(means[0]["memory_ratios"])) == 0
    last = means[-1]
    assert per_epoch == 4
    assert float(last["ratio"]) + float(last["memory_ratios"].sum()) == pytest.approx(1, rel=1e-5)
    assert float(last["memory_ratios"].min()) > 0


@jax.jit
def loss_without_memory(output, planes):
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1], 19), 1)
    return losses.weighted_sum(losses.current_loss(output, planes, masks), losses.Coefficients())


def test_padding_has_no_weight(single):
    """13 patches in 4 shards of 4 rows: the last batch has one patch, and its means are those of that patch."""
    rig = single[0]
    order = rig.layout.epoch_order(3, 0)
    assert [(o >= 0).sum() for o in order] == [4, 4, 4, 1]
    current = rig.fresh_state()
    layout_order = rig.order(0)
    for _ in range(3):
        current, _ = rig.train_step(current, rig.sources, layout_order)
    params = jax.device_get(current.params)
    _, means = rig.train_step(current, rig.sources, layout_order)
    patch = int(np.flatnonzero(rig.layout.bank_row_of_patch() == order[3].max())[0])
    image, top, left = rig.training_set.table[patch]
    cut = rig.training_set.pairs[image].luma[None, :, top : top + 32, left : left + 32]
    planes = jnp.asarray(cut, jnp.float32) / 255
    output = run_unpadded(rig.step_config.model, params, planes[:, 0], planes[:, 1])
    expected = loss_without_memory(output, planes)
    assert float(means["loss"]) == pytest.approx(float(expected[0]), rel=1e-5)


def test_nothing_is_compiled_after_the_first_epoch(single):
    rig = single[0]
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None)
    try:
        jax.jit(lambda x: x + 41)(1)
        assert compiled, "the listener was not called: has the event been renamed?"
        current, order, orders = rig.fresh_state(), rig.order(0), [rig.order(e) for e in (1, 2)]
        current, _ = rig.train_step(current, rig.sources, order)
        current, _ = rig.epoch_end(current, rig.sources)
        compiled.clear()
        for order in orders:
            for _ in range(rig.layout.steps_per_epoch):
                current, _ = rig.train_step(current, rig.sources, order)
            current, _ = rig.epoch_end(current, rig.sources)
        assert compiled == []
    finally:
        jax.monitoring.clear_event_listeners()


@pytest.mark.parametrize("devices", [1, 4])
def test_several_steps_in_one_call_equal_single_steps(devices):
    """4 steps an epoch, in calls of 2, 1 and 1."""
    rig = Rig(devices)
    single_state, single_means, _ = rig.epochs(1)
    current, order, means = rig.fresh_state(), rig.order(0), []
    for count in (2, 1, 1):
        current, collected = rig.train_steps(current, rig.sources, order, count)
        collected = jax.device_get(collected)
        assert collected["loss"].shape == (count,)
        means += [jax.tree.map(lambda x, i=i: x[i], collected) for i in range(count)]
    for a, b in zip(single_means, means, strict=True):
        assert_close(a, b)
    assert int(current.step) == 4
    current, _ = rig.epoch_end(current, rig.sources)
    images = [np.asarray(s.bank.images, int) for s in (single_state, current)]
    assert np.abs(images[0] - images[1]).max() <= 2


@pytest.fixture(scope="module")
def sharded():
    """Three epochs on four devices under shard_map."""
    return Rig(4, sharded=True).epochs(3)


def test_the_step_under_shard_map_equals_the_pmapped_one(sharded):
    """The step that several processes run, or that is compiled for absent devices, gives the same numbers."""
    rig = Rig(4)
    pmapped, means, reports = rig.epochs(3)
    for a, b in zip(means[:4], sharded[1][:4], strict=True):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)
    for a, b in zip(means, sharded[1], strict=True):
        assert_close(a, b)
    for a, b in zip(reports, sharded[2], strict=True):
        np.testing.assert_array_equal(a["held_epochs"], b["held_epochs"])
    images = np.asarray(state.to_checkpoint_layout(pmapped).bank.images, int)
    assert np.abs(np.asarray(sharded[0].bank.images, int) - images).max() <= 2


def test_a_bank_in_host_memory_equals_the_bank_on_the_devices(sharded):
    """13 patches: the last batch has three fillers, whose writes must leave the last patch alone."""
    rig = Rig(4, memory_kind="host")
    current, means, reports = rig.epochs(3)
    assert current.bank.images is None
    saved = rig.host_bank.to_checkpoint_layout(current)
    assert saved.bank.images.sharding.memory_kind == "pinned_host"
    for a, b in zip(sharded[1], means, strict=True):
        assert_close(a, b)
    for a, b in zip(sharded[2], reports, strict=True):
        np.testing.assert_array_equal(a["held_epochs"], b["held_epochs"])
    on_devices, on_host = (np.asarray(s.bank.images, int) for s in (sharded[0], saved))
    assert np.abs(on_devices - on_host).max() <= 2
    assert np.count_nonzero(on_host[rig.layout.bank_row_of_patch()][:, np.asarray(saved.bank.slots)[:3]])


def test_images_in_a_checkpoint_are_not_overwritten():
    """A slot that is being saved stays unchanged while the next epoch writes to it; the bank itself is not copied."""
    rig = Rig(2, memory_kind="host")
    current, _, _ = rig.epochs(1)
    saved = rig.host_bank.for_saving(current)
    free = int(saved.bank.free)
    copied = [np.concatenate([block for _, block in blocks]) for blocks in copy_slot(saved.bank.images, free)]
    before, own = [block.copy() for block in copied], [shard.data for shard in saved.bank.images.addressable_shards]
    current = rig.host_bank.to_devices(saved)
    order = rig.order(1)
    for _ in range(rig.layout.steps_per_epoch):
        current, _ = rig.train_step(current, rig.sources, order)
    after = rig.host_bank.to_checkpoint_layout(current).bank.images
    jax.tree.map(np.testing.assert_array_equal, copied, before)
    np.testing.assert_array_equal(after, np.concatenate(own))
    assert (np.asarray(after)[:, free] != np.concatenate(before)).any()


@pytest.mark.parametrize(("kind", "sharded"), [("images", False), ("images", True), ("snapshots", False)])
def test_the_steady_state_transfers_nothing(kind, sharded):
    """Steps and the end of an epoch run under a transfer guard; orders are sent before."""
    rig = Rig(4, memory_kind=kind, sharded=sharded)
    current, orders = rig.fresh_state(), [rig.order(epoch) for epoch in range(3)]
    with jax.transfer_guard("disallow"):
        for order in orders:
            for _ in range(2):
                current, _ = rig.train_steps(current, rig.sources, order, 2)
            current, report = rig.epoch_end(current, rig.sources)
        with pytest.raises(Exception, match="Disallowed"):
            rig.train_steps(current, rig.sources, np.zeros_like(rig.layout.device_order(3, 0, 4)), 2)
    assert jax.device_get(report)["held_epochs"].tolist() == [1, 2, 3, -1]


def test_the_bank_is_updated_in_place():
    """The compiled step aliases its state, so it needs no second copy of the bank."""
    rig = Rig(1)
    fresh = rig.fresh_state()
    compiled = rig.train_steps.lower(fresh, rig.sources, rig.order(0), 1).compile()
    bank = fresh.bank.images.nbytes
    analysis = compiled.memory_analysis()
    assert analysis.alias_size_in_bytes >= bank
    assert fresh.bank.images.is_deleted() is False
    rig.train_step(fresh, rig.sources, rig.order(0))
    assert fresh.bank.images.is_deleted()


def test_only_the_network_has_convolutions_and_devices_exchange_sums_alone():
    """12 layers, the gradients of their kernels, and of the inputs of all but the first; windows are products."""
    rig = Rig(4, sharded=True)
    arguments = rig.fresh_state(), rig.sources, rig.order(0), 1
    # On CPUs a layer is cut into several convolutions, which are faster there.
    network = model.make_model(rig.step_config.model.width, platform="tpu")
    plain = steps.make_sharded_step(rig.step_config._replace(model=network), rig.mesh)
    assert convolution_groups(plain.trace(*arguments).jaxpr.jaxpr) == [1] * (12 + 12 + 11)
    found = communication(rig.train_steps.lower(*arguments).compile().as_text())
    parameters = sum(x.size for x in jax.tree.leaves(rig.fresh_state().params))
    assert found.keys() == {"all-reduce"} and 4 * parameters <= found["all-reduce"] < 5 * 4 * parameters


def test_communication_is_read_from_every_form_of_a_program():
    program = """
      %a = f32[3,4]{1,0:T(8,128)} all-reduce(f32[3,4]{1,0} %x), replica_groups={{0,1}}
      %b = (f32[10]{0}, bf16[2,2]{1,0}, f32[]) all-reduce(%x, %y, %z), to_apply=%add
      %c = ((f32[5]{0}), (f32[5]{0})) all-reduce-start(%x)
      %d = f32[5]{0} all-reduce-done(%c)
      ROOT %e = u8[1000]{0} all-gather(u8[500]{0} %x), dimensions={0}
      %f = f32[7]{0} add(%all-reduce.1, %x)
    """
    assert communication(program) == {"all-reduce": 48 + 40 + 8 + 4 + 20, "all-gather": 1000}


def test_the_step_equals_the_pytorch_reference(reference):
    """The whole pmapped step on the reference's patches: same loss terms, ratios, and losses after Adam steps."""
    data = reference("train_step")
    pairs = [TrainingPair(i, planes) for i, planes in enumerate(data["sources"])]
    rig = Rig(1, patches=4, shards=1, batch=4, patch_px=64, pairs=pairs, width=16)
    fresh = rig.fresh_state(jax.tree.map(jnp.asarray, nest(data, "param/")))
    planes = jnp.asarray(data["sources"], jnp.float32) / 255
    remembered = jnp.asarray(data["memory"])
    bank = fresh.bank
    images = np.zeros((1, 4, 5, 64, 64), np.uint8)
    images[0, :, :2] = data["memory"]
    scores = np.zeros((1, 4, 5), np.float32)
    scores[0, :, :2] = jax.jit(jax.vmap(losses.source_score, (1, None), 1))(memory.dequantize(remembered), planes)
    bank = memory.MemoryBank(images, scores, np.asarray(bank.sharpness), np.arange(4, dtype=np.int32),
                             np.array([1, 2, -1, -1], np.int32), np.zeros(4, np.float32), np.int32(4))
    start = jax.tree.map(np.array, TrainState(fresh.step, fresh.params, fresh.opt_state, bank))
    current = jax.device_put(start, state.shardings(rig.mesh, start))
    values = []
    for i in range(4):
        current, means = rig.train_step(current, rig.sources, rig.order(i))
        values.append(float(means["loss"]))
        if i == 0:
            np.testing.assert_allclose(means["memory_ratios"][:2], data["ratios"][:, 1:].mean(0), rtol=1e-5)
            assert float(means["current_ssim"]) == pytest.approx(data["current_ssim"].mean(), rel=1e-5)
    np.testing.assert_allclose(values, data["loss_after_adam_steps"], rtol=1e-5)


def test_swap_sources_exchanges_half_of_the_pairs_and_the_others_an_epoch_later(rng):
    planes = jnp.asarray(rng.random((5, 2, 3, 4)), jnp.float32)
    bank_rows = jnp.array([0, 1, 2, 3, 6])
    even, odd = (np.asarray(steps.swap_sources(planes, bank_rows, epoch)) for epoch in (0, 1))
    for i, row in enumerate(bank_rows):
        kept, exchanged = (odd, even) if row % 2 else (even, odd)
        np.testing.assert_array_equal(kept[i], planes[i])
        np.testing.assert_array_equal(exchanged[i], planes[i, ::-1])


def test_a_step_compares_its_output_with_the_targets(rng):
    rig, other = Rig(1), Rig(1)
    other.step_config = other.step_config._replace(targets=TargetConfig(exposure_share=1.0))
    other.train_steps = steps.make_train_step(other.step_config)
    losses_ = [float(jax.device_get(r.train_step(r.fresh_state(), r.sources, r.order(0))[1])["current_pixel"])
               for r in (rig, other)]
    assert losses_[1] != pytest.approx(losses_[0], rel=1e-3)
