"""The one path of an event into the warehouse: schema, validation, enrichment, landing."""
