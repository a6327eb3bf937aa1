"""Trains the paper's method: `train.train(config, workdir)`, from a configuration to a trained state.

In reading order:

- config, train, loop: checking the configuration, setting a run up, and the loop over epochs;
- patches, device_data: where the patches are and in which order they come; sending the pictures to the devices;
- state, steps, host_bank: the state of a run, the training step, and the step with a memory bank in host memory;
- run_dir, checkpoint, bank_files, save_errors, export_run: what a run writes, and weights made from it;
- chooser, chooser_data, chooser_step: the network that chooses among shots, trained on simulated ones;
- divergence, profiling: stopping on a bad loss, and tracing steps.
"""
