"""Distilling logits.

Five answers, in the order of the page: the loss of Hinton et al. with both its terms (05.1), a batch in which some
labels are missing (05.2), a temperature chosen without looking at the test part (05.3), pseudo-labels that belong to
the images of a shuffled batch (05.4), and what a teacher says about the classes that an image does not show (05.5).
"""
