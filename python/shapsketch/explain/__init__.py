"""Explanations, computed from a sketch; only `refine` and `faithfulness` evaluate the model again."""
