"""What every learning app shares: reading rows, preprocessing by secure sums, splitting, solving and evaluating.

On a node: :mod:`.frame` reads the usable rows, :mod:`.profile` describes them, :mod:`.design` makes a matrix of them.
On the coordinator: :mod:`.preprocess` turns the summed profiles into fill values, means and standard deviations,
:mod:`.optimiser` and :mod:`.quadratic` take Newton steps, :mod:`.inference` gives standard errors. :mod:`.evaluation` has
both halves. :mod:`.columns` and :mod:`.split` are what both sides derive from a job's parameters.

A run fits one model or several at once: *fit* 0 is the one released; under k-fold cross-validation fits 1 to k leave one
*part* of the rows out each. All of them share every round.
"""
