"""Evaluations and fusions as self-contained HTML pages, and contact sheets.

Pages of an evaluation (`edmf report`), in reading order: evaluation_page writes one; evaluation_data reads the scores
and chooses the pairs to show; evaluation_pictures makes their layers; evaluation_html fills the template;
dot_plots places the means and intervals.  evaluation_sheet makes one picture of cut-outs instead.
Pages of a fusion (`edmf fuse --report`): fusion_page, fusion_pictures, fusion_html.
Both use: picture_layers (reduced copies as WebP), crops (where to look closely), webpage (template, style, script).
contact_sheet arranges labeled pictures.  assets/ holds the Jinja2 templates, the style and the scripts.
"""
