"""Programs: modules, predictors, and what they return."""
