"""From files to a prediction: reading, preprocessing, encoding, predicting. No queue, no network, no database."""
