"""The parts of ``benchmarks/engine.py``: faults, random verdicts, wrong answers and mutants, each tried and counted."""
