"""From the files of a study to a tensor that passed the quality gate."""
