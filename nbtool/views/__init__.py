"""Views: what a person sees of a trace. All of them share the rows of `views.model`."""
