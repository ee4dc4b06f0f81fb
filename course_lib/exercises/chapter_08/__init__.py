"""Channel pruning.

Five answers, in the order of the page: what a chain of convolutions costs after a cut (08.1), the cut itself through
convolution, BatchNorm and convolution (08.2), which inputs of a linear layer belong to a channel behind a flattened map
(08.3), where channels stand behind a concatenation (08.4), and first-order Taylor importance from activations and
gradients (08.5).
"""
