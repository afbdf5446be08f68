"""Who is learned from and measured with: manifests, labels, splits, and the tensors of their heads."""
