"""How answers are scored. To add a metric: its options in `luthier.recipe.evaluate`, and a function that makes it."""
