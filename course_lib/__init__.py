"""course_lib: the tested library behind the notebooks.

One idea a module, named by topic: ``data``, ``models``, ``training``, ``distillation``, ``pruning``,
``quantization``, ``deploy``, ``measure``, ``exercises``; ``plots`` and ``widgets`` draw for the notebooks.
Nothing is downloaded, printed or plotted on import, and a submodule is imported when it is first used.
"""

__version__ = "0.1.0"
