"""Statistics of predictions.

intervals.py   intervals, one p-value (`compared`), Holm's correction, power      strata.py     the printed mean
compare.py     every row against the baseline: the numbers of a table             orderings.py  Kendall's tau
noise.py       training noise: from seeds, replicates, or stated                  simulated.py  simulations of coverage
second_training.py   training noise that is stated, or known from the authors' second trainings
"""
