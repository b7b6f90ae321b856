"""Recording runs with wandb through a separate program, so that training never waits for wandb."""
