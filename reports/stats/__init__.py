"""From predictions to statistics: intervals, training noise, differences, orderings, and simulations of how often they hold."""
