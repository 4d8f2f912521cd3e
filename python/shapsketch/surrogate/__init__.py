"""What a sketch is: a closed form and how well it predicts."""
