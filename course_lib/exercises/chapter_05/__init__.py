"""Distilling logits.

Five answers: the loss of Hinton et al. with both its terms, pseudo-labels that belong to the images of a shuffled
batch, what a teacher says about the classes that an image does not show, a batch in which some labels are missing, and
a temperature chosen without looking at the test part.
"""
