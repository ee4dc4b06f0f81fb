"""How much where.

Five answers, in the order of the page: the sensitivity curve of one layer (09.1), the greedy rule's next step (09.2), a
layer's milliseconds between measured widths (09.3), the MACs that an image executes under gates (09.4), and a gate
whose decision has a gradient (09.5).
"""
