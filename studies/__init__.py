"""Measurements of quality: how exact results are, how close to a known truth, how often wrong.

`python -m studies` lists the studies; `python -m studies.NAME --help` says how each is run.  In reading order:
registration (with registration_trials, its pairs of shots), stacks (with stack_settings, stack_scenes and stack_truth,
its rendered stacks, and stack_programs and openfocus_maps, what aligns them), pairs (EDMF's, without truth),
photographs (with photograph_scenes, its pairs, and color_rules, the color rules it compares), photograph_pictures
(figures of the docs), chooser_pictures (what the choosing network is trained and validated on), training_curves (a
figure, and thinning of training logs), save_traps (what saving does to scores), table2 (the paper's Table 2, with all
methods) and table2_tables (tables of its rows).
"""
