"""How a training ends before its last step."""


class TrainingError(ValueError):
    """A run that cannot go on; the last saved state is kept."""
