"""Teachers: scores for training groups from models and runs, and cross-encoders fine-tuned on a collection."""
