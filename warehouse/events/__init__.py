"""The path of an event into the warehouse: schema, validation, enrichment, insertion (`landing`)."""
