"""Many views into one hand: the initial guess, the objective, the solver and its error bars."""
