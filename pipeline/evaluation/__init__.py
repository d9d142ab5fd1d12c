"""How far estimates lie from the truth: errors and their definitions, data sets, and made sessions."""
