"""Routes of metering: thin, over the services that `nightrate/app.py` makes."""
