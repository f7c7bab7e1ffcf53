"""How answers are scored. To add a metric: its options in `luthier.recipe.metrics`, and a function that makes it."""
