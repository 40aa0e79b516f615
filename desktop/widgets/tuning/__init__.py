"""What the wizards of every stage share that goes on training a model: the model, the method, the settings, the way to a run."""
