"""The evaluation protocol: what held-out subjects say of a model, beside the baselines on the same folds."""
