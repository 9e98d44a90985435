"""How work flows: from an uploaded file of requests to committed outcomes."""
